"""polymodel train"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from polymodel.cli.errors import reported
from polymodel.cli.options import BackendName, Debug, Device, Devices, Json, names


@reported
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="What to train on what.")],
    backend: BackendName = None,
    device: Device = None,
    devices: Devices = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="a.b=VALUE", help="Change the configuration; repeatable.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Folder of the run; default runs/CONFIG-BACKEND.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint of the folder.")] = False,
    start: Annotated[
        Path | None, typer.Option("--resume-from", help="Go on from this checkpoint, of any folder and any backend.")
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the resolved configuration and do nothing else.")
    ] = False,
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Train a model; write configuration, environment, log, history and checkpoints into a folder.

    Examples:

      polymodel train examples/digits.yaml --backend mxnet

      polymodel train examples/digits.yaml --set optimizer.lr=0.01 --set epochs=20 --output runs/more

      polymodel train examples/digits.yaml --resume --backend tensorflow --output runs/more
    """
    from polymodel.config import file as config_file

    resolved = config_file.read(config, changes or ())
    if print_config:
        sys.stdout.write(config_file.dump(resolved))
        return

    from polymodel.cli.training_run import run
    from polymodel.config.experiment import build_data, build_model, build_trainer
    from polymodel.registry import choose_backend

    name = choose_backend(backend, resolved.backend)
    place = output or Path(resolved.output or f"runs/{config.stem}-{name}")
    resolved = resolved.model_copy(update={"output": str(place)})
    model = build_model(resolved)
    data = build_data(resolved, model)
    trainer = build_trainer(resolved, model, name, device, names(devices))

    run(resolved, place, trainer, data, resume=resume, start=start, json_output=json_output)
