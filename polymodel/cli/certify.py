"""polymodel certify"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from polymodel.cli.errors import FAILURE, reported
from polymodel.cli.options import BackendNames, Debug, Json, Which, names
from polymodel.errors import ConfigError


@reported
def certify(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx|RUN", help="A file, or a run, which is exported first.")],
    report: Annotated[
        Path | None, typer.Argument(metavar="REPORT", help="For --check: a report of certify, .json or .html.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only see whether the file is the one of the report.")] = False,
    native: Annotated[
        str | None, typer.Option("--native", help="MODULE:ATTRIBUTE of the model in its framework; its code is run.")
    ] = None,
    backends: BackendNames = None,
    inputs: Annotated[
        Path | None, typer.Option("--inputs", help="Samples to try, .npz; made up from the types by default.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Name of the report without ending; MODEL.onnx.certificate by default.")
    ] = None,
    which: Which = "best",
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Certify that a file, its native model and all backends agree; code 1 if they do not, or if --check finds a difference.

    Writes a report as JSON and as one HTML page, and its essentials with the hashes into the file's metadata.

    Examples:

      polymodel certify runs/digits-torch

      polymodel certify net.onnx --native net.py:model --backends torch,mxnet

      polymodel certify --check net.onnx net.onnx.certificate.html
    """
    from polymodel.artifact.load import load_onnx
    from polymodel.config.sources import read_inputs
    from polymodel_conformance.certificate import certify as work

    if check:
        if report is None:
            raise ConfigError("--check needs the report too: polymodel certify --check MODEL.onnx REPORT")
        problems = work.check(model, report)
        if json_output:
            print(json.dumps({"model": str(model), "report": str(report), "matches": not problems, "problems": problems}))
        else:
            print("\n".join(problems) if problems else f"{model} is the file that {report} certifies")
        if problems:
            raise typer.Exit(FAILURE)
        return
    if report is not None:
        raise ConfigError(f"{report}: a report is given with --check only; --output names the one to write")
    feeds = None
    if inputs is not None:
        if model.is_dir():
            raise ConfigError("--inputs: give the exported file, RUN/model.onnx, not the run")
        feeds = read_inputs(inputs, list(load_onnx(model).inputs))
    found = work.certify(
        model, native=native, backends=names(backends) or None, inputs=feeds, report=output, checkpoint=which
    )
    if json_output:
        print(json.dumps(found.report))
    else:
        for name, side in found.report["sides"].items():
            print(f"{name}: {side['verdict']} {side['problem']}".rstrip())
        print(f"{found.model}: {found.report['verdict']}; {found.json_file}, {found.html_file}")
    if not found.passed:
        raise typer.Exit(FAILURE)
