"""polymodel compare"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from polymodel.cli.errors import FAILURE, reported
from polymodel.cli.options import Debug, Json, interpreters
from polymodel.errors import ConfigError
from polymodel.registry import backends

_ELSEWHERE = ("onnxruntime", "reference", "oracle")


def _runners(incomplete: str) -> list[str]:
    """FILE.onnx@ goes on with everything that runs a file."""
    place, at, start = incomplete.rpartition("@")
    return [f"{place}@{n}" for n in (*backends(), *_ELSEWHERE) if n.startswith(start)] if at else []


Side = Annotated[
    str,
    typer.Argument(
        autocompletion=_runners,
        help="MODEL.onnx@RUNNER, RUN@BACKEND, a checkpoint of a run, or MODULE:ATTRIBUTE of a framework, whose code is run.",
    ),
]


@reported
def compare(
    a: Side,
    b: Side,
    inputs: Annotated[
        Path | None, typer.Option("--inputs", help="Samples to try, .npz; made up from the types by default.")
    ] = None,
    graph: Annotated[
        str | None, typer.Option("--graph", help="ONNX file or run to judge by, when neither side has a graph.")
    ] = None,
    layers: Annotated[bool, typer.Option("--layers/--no-layers", help="Look for the call that is to blame.")] = True,
    picture: Annotated[Path | None, typer.Option("--picture", help="Draw where the error grows, .svg.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of inputs that are made up.")] = 0,
    python: Annotated[
        list[str] | None,
        typer.Option("--python", metavar="BACKEND=PATH", help="Interpreter of a backend's process; repeatable."),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="Where backends run.")] = "cpu",
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Do two programs compute the same, and what their graphs mean? Code 0 they do, 1 they differ, 3 one is not installed.

    RUNNER is a backend, onnxruntime (the default for a file), onnxruntime:PROVIDER, reference (the onnx package's evaluator)
    or oracle (float64). Each call alone is fed with reference inputs, so that it is blamed for its own error only.

    Examples:

      polymodel compare net.onnx@torch net.onnx@mxnet

      polymodel compare runs/digits@tensorflow net.onnx --inputs samples.npz --picture growth.svg

      polymodel compare net.py:model net.onnx@onnxruntime:CPUExecutionProvider --json

      polymodel compare from_torch.onnx from_keras.onnx --no-layers
    """
    from polymodel.cli.output import show
    from polymodel_conformance.comparison.run import compare as run

    if picture is not None and picture.suffix != ".svg":
        raise ConfigError(f"--picture {picture}: expected a name that ends in .svg")
    if picture is not None and not layers:
        raise ConfigError("--picture needs the calls: leave --no-layers out")
    found = run(a, b, inputs, layers=layers, seed=seed, graph=graph, pythons=interpreters(python), device=device)
    if picture is not None:
        picture.write_text(found.picture(), encoding="utf-8")
    if json_output:
        print(json.dumps(found.to_dict()))
    else:
        show(found.table())
        print("\n".join(found.lines()))
    if not found.passed:
        raise typer.Exit(FAILURE)
