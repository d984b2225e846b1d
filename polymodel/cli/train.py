"""polymodel train"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from polymodel.cli.errors import reported
from polymodel.cli.options import BackendName, Debug, Device, Json


@reported
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="What to train on what.")],
    backend: BackendName = None,
    device: Device = None,
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
    from polymodel import checkpoint, config_file

    resolved = config_file.read(config, changes or ())
    if print_config:
        sys.stdout.write(config_file.dump(resolved))
        return

    from polymodel.callbacks import Lines
    from polymodel.cli.run_folder import RunFolder
    from polymodel.experiment import build_callbacks, build_data, build_model, build_trainer
    from polymodel.registry import choose_backend

    name = choose_backend(backend, resolved.backend)
    place = output or Path(resolved.output or f"runs/{config.stem}-{name}")
    resolved = resolved.model_copy(update={"output": str(place)})
    model = build_model(resolved)
    data = build_data(resolved, model)
    trainer = build_trainer(resolved, model, name, device)

    trainer.check(data.train, data.validation, data.test)
    folder = RunFolder(place)
    newest = start or (checkpoint.latest(folder.checkpoints) if resume else None)
    if newest is not None:
        trainer.load_checkpoint(newest)  # what does not fit is refused before anything is written
    folder.open(resume=resume)
    folder.record(resolved, trainer)
    show = not json_output and not sys.stderr.isatty()

    def say(line: str) -> None:
        folder.log(line)
        if show:
            print(line, flush=True)

    if resume and newest is None:
        say("no checkpoint to resume from: starting at the beginning")
    where = f"on {trainer.program.backend.name} ({trainer.program.device})"
    say(f"training {where}, output {place}" + (f", from {newest}" if newest else ""))
    began = time.perf_counter()
    try:
        trainer.fit(
            data.train,
            epochs=resolved.epochs,
            batch_size=resolved.batch_size,
            validation=data.validation,
            validate_every=resolved.validate_every,
            callbacks=[*build_callbacks(resolved, place), Lines(say)],
            progress=not json_output,
            resume=newest,
        )
    except BaseException as error:
        folder.log(f"ended with {type(error).__name__}: {error}")
        raise
    seconds = time.perf_counter() - began
    test = None if data.test is None else trainer.evaluate(data.test)
    folder.log(f"done in {seconds:.1f} s" + ("" if test is None else f"; test {test}"))
    if json_output:
        result = {
            "run": str(place),
            "backend": trainer.program.backend.name,
            "device": trainer.program.device,
            "checkpoint": str(folder.checkpoint("best")),
            "seconds": seconds,
            "history": trainer.history.to_json(),
            "test": test,
        }
        print(json.dumps(result))
        return
    last = {n: v for n, v in trainer.history[-1].items() if n not in ("epoch", "step", "lr", "seconds")}
    last |= {f"test_{n}": v for n, v in (test or {}).items()}
    print(f"done {where} in {seconds:.1f} s: " + "  ".join(f"{n} {v:.6g}" for n, v in last.items()))
    print(f"run folder: {place}")
