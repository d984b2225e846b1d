"""polymodel verify"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from polymodel.cli.errors import FAILURE, reported
from polymodel.cli.options import BackendNames, Debug, Json, names


@reported
def verify(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The file to check.")],
    backends: BackendNames = None,
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Run an ONNX file in ONNX Runtime, the reference evaluator and backends, and compare. Exit code 1 on disagreement.

    Examples:

      polymodel verify net.onnx

      polymodel verify net.onnx --backends torch,mxnet --json
    """
    from polymodel.artifact.verify import verify as run

    report: Any = run(model, backends=names(backends))
    if json_output:
        print(json.dumps(dataclasses.asdict(report), default=str))
    else:
        print(report)
    if not report.passed:
        raise typer.Exit(FAILURE)
