"""polymodel conformance"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from polymodel.cli.errors import FAILURE, reported
from polymodel.cli.options import BackendNames, Debug, Json, names
from polymodel.errors import BackendUnavailable


@reported
def conformance(
    backends: BackendNames = None,
    report: Annotated[
        Path, typer.Option("--report", help="Folder for HTML, JSON and JUnit.")
    ] = Path("conformance-report"),
    profile: Annotated[str, typer.Option("--profile", help="smoke, quick or full.")] = "quick",
    python: Annotated[
        list[str] | None,
        typer.Option("--python", metavar="BACKEND=PATH", help="Interpreter of a backend's worker; repeatable."),
    ] = None,
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Compare backends with the standard and with each other. Exit code 1 when a verdict is no pass.

    Examples:

      polymodel conformance --backends torch,mxnet --report report

      polymodel conformance --profile full --python mxnet=/opt/mxnet/bin/python
    """
    try:
        from polymodel_conformance.run import run  # type: ignore[import-not-found,unused-ignore]
    except ModuleNotFoundError as error:
        raise BackendUnavailable(f"no conformance suite ({error}): pip install -e . in a checkout") from error
    from polymodel.registry import backends as registered

    interpreters = dict(p.split("=", 1) for p in python or ())
    result: Any = run(names(backends) or list(registered()), report, profile=profile, pythons=interpreters)
    print(json.dumps(result.summary()) if json_output else result)
    if not result.passed:
        raise typer.Exit(FAILURE)
