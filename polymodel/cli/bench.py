"""polymodel bench"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from polymodel.cli.errors import FAILURE, reported
from polymodel.cli.options import BackendNames, Debug, Json, names


@reported
def bench(
    models: Annotated[
        str | None,
        typer.Option("--models", help="Names with commas between; the five reference models by default. Also: resnet50, bert."),
    ] = None,
    backends: BackendNames = None,
    optimizers: Annotated[str, typer.Option("--optimizers", help="sgd, adam or both.")] = "sgd,adam",
    tasks: Annotated[
        str,
        typer.Option(
            "--tasks",
            help="train; of the reference models also fit: with a metric, callbacks and a loader; of resnet50 and bert, which come as "
            "ONNX files, also predict and import.",
        ),
    ] = "train",
    pairs: Annotated[int, typer.Option("--pairs", min=1, help="Interleaved pairs of timed blocks.")] = 7,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="Time for the pairs of one row.")] = 6.0,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads of one operator, on both sides.")] = 2,
    device: Annotated[str, typer.Option("--device", help="Where both sides run.")] = "cpu",
    mode: Annotated[str, typer.Option("--mode", help="Compiler of polymodel's side: auto, native, ...")] = "auto",
    native_mode: Annotated[str | None, typer.Option("--native-mode", help="Mode of the native loop; the best one by default.")] = None,
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Time steps against the best hand-written native loop of the same framework, interleaved.

    Examples:

      polymodel bench --backends torch --models mlp,lenet

      polymodel bench --models mlp,lstm --tasks fit --optimizers adam

      polymodel bench --models resnet50,bert --tasks train,predict,import

      polymodel bench --json > rows.json
    """
    from polymodel.bench.run import run_bench, table, terminal_progress
    from polymodel.cli.output import show
    from polymodel.models import REFERENCE
    from polymodel.registry import backends as registered

    with terminal_progress() as progress:
        rows = run_bench(
            names(models) or list(REFERENCE),
            names(backends) or list(registered()),
            names(optimizers),
            pairs,
            threads=threads,
            seconds=seconds,
            native_mode=native_mode,
            mode=mode,
            device=device,
            tasks=names(tasks),
            progress=progress,
        )
    if json_output:
        print(json.dumps(rows))
    else:
        show(table(rows))
    if any("error" in row for row in rows):
        raise typer.Exit(FAILURE)
