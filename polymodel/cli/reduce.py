"""polymodel reduce"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from polymodel.cli.errors import FAILURE, reported
from polymodel.cli.options import BackendName, Debug, Json, interpreters
from polymodel.errors import BackendUnavailable, ConfigError


@reported
def reduce(
    case: Annotated[
        str,
        typer.Argument(
            metavar="CASE",
            help="Id of a case of the suite, random/SEED/NUMBER, a file .onnx, or a folder with model.onnx and inputs.npz.",
        ),
    ],
    backend: BackendName = None,
    inputs: Annotated[Path | None, typer.Option("--inputs", help="Inputs of a file, .npz; made up by default.")] = None,
    gradients: Annotated[bool, typer.Option("--gradients", help="Of a file: its derivatives, not its values.")] = False,
    output: Annotated[Path, typer.Option("--output", help="Folder to write.")] = Path("reduced"),
    seconds: Annotated[float, typer.Option("--seconds", min=1, help="When to stop looking for something smaller.")] = 120.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of inputs that are made up.")] = 0,
    python: Annotated[
        list[str] | None,
        typer.Option("--python", metavar="BACKEND=PATH", help="Interpreter of the backend's process; repeatable."),
    ] = None,
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Make a failing case small: the least graph and inputs that still fail, with a script that repeats it. Code 1: it passes.

    The folder has model.onnx, inputs.npz, expected.npz (float64 values and rounding floors), about.json and run.py.

    Examples:

      polymodel reduce forward/generated/lstm_lengths --backend mxnet

      polymodel reduce random/7/1234 --backend tensorflow --output bug

      polymodel reduce net.onnx --inputs x.npz --backend torch --gradients --json
    """
    from polymodel.registry import choose_backend

    try:
        from polymodel_conformance.reduction.run import run
    except ModuleNotFoundError as error:
        raise BackendUnavailable(f"no conformance suite ({error}): pip install -e . in a checkout") from error

    if inputs is not None and not Path(case).exists():
        raise ConfigError(f"--inputs goes with a file; {case} is none")
    name = choose_backend(backend)
    found = run(
        case, name, output, inputs=inputs, gradients=gradients, seconds=seconds, seed=seed, python=interpreters(python).get(name)
    )
    print(json.dumps(found.to_dict()) if json_output else str(found))
    if not found.failed:
        raise typer.Exit(FAILURE)
