"""polymodel export"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from polymodel.cli.errors import reported
from polymodel.cli.options import Debug, Json, Run, Which


@reported
def export(
    run: Run,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; default RUN/model.onnx.")
    ] = None,
    which: Which = "best",
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Compare ONNX Runtime with the reference beforehand.")
    ] = True,
    opset: Annotated[int, typer.Option("--opset", help="Version of the standard to write.")] = 23,
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Write a trained model as an ONNX file. No framework is needed for it.

    Examples:

      polymodel export runs/digits-mxnet -o digits.onnx

      polymodel export runs/digits-mxnet --checkpoint latest --opset 20
    """
    from polymodel.artifact.export import export as write
    from polymodel.cli.run_folder import RunFolder, facts_of

    graph, path, record = RunFolder(run).trained(which)
    file = output or run / "model.onnx"
    write(graph, file, verify=verify, metadata=facts_of(record), opset=opset)
    if json_output:
        print(json.dumps({"output": str(file), "checkpoint": str(path), "verified": verify, "opset": opset}))
    else:
        print(f"{file}: {path.name}, {'verified' if verify else 'not verified'}")
