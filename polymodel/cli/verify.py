"""polymodel verify"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from polymodel.cli.errors import FAILURE, reported
from polymodel.cli.options import BackendNames, Debug, Json, names


@reported
def verify(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The file to check.")],
    backends: BackendNames = None,
    inputs: Annotated[
        Path | None, typer.Option("--inputs", help="Samples to try, .npz; made up from the types by default.")
    ] = None,
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Run an ONNX file in ONNX Runtime, the reference evaluator and backends, and compare: code 1 if they disagree.

    Examples:

      polymodel verify net.onnx

      polymodel verify net.onnx --backends torch,mxnet --json
    """
    from polymodel.artifact.load import load_onnx
    from polymodel.artifact.verify import verify as run
    from polymodel.cli.output import show
    from polymodel.config.sources import read_inputs

    feeds = None if inputs is None else read_inputs(inputs, list(load_onnx(model).inputs))
    report = run(model, backends=names(backends) or None, inputs=feeds)
    if json_output:
        print(json.dumps(report.to_dict()))
    else:
        show(report.table())
    if not report.passed:
        raise typer.Exit(FAILURE)
