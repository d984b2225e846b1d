"""polymodel evaluate"""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

from polymodel.cli.errors import reported
from polymodel.cli.options import BackendName, Debug, Device, Devices, Json, Run, Which, names
from polymodel.cli.output import line, plain
from polymodel.errors import ConfigError


@reported
def evaluate(
    run: Run,
    on: Annotated[
        Literal["test", "validation", "train"] | None,
        typer.Option("--on", help="Which samples; test if the configuration has them, else validation."),
    ] = None,
    which: Which = "best",
    backend: BackendName = None,
    device: Device = None,
    devices: Devices = None,
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Mean loss and metrics of a trained model, on any backend.

    Examples:

      polymodel evaluate runs/digits-torch

      polymodel evaluate runs/digits-torch --backend mxnet --on validation --checkpoint latest
    """
    from polymodel.cli.run_folder import RunFolder
    from polymodel.config.experiment import build_data, build_model, build_trainer

    folder = RunFolder(run)
    config = folder.config()
    model = build_model(config)
    data = build_data(config, model)
    chosen = on or ("test" if data.test is not None else "validation")
    samples = getattr(data, chosen)
    if samples is None:
        raise ConfigError(f"the run has no {chosen} samples: set data.{chosen} in its configuration, or --on train")
    trainer = build_trainer(config, model, backend, device, names(devices))
    path = folder.checkpoint(which)
    trainer.load_checkpoint(path)
    found = trainer.evaluate(samples)
    if json_output:
        print(json.dumps({"checkpoint": str(path), "backend": trainer.program.backend.name, "on": chosen, **plain(found)}))
        return
    print(f"{chosen}, {path.name}, {trainer.program.backend.name}: {line(found)}")
