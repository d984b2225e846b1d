"""A fit in a run folder: what `polymodel train` and `polymodel finetune` have in common."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from polymodel.callbacks import Lines, StepLines
from polymodel.cli.output import line, plain
from polymodel.cli.run_folder import RunFolder
from polymodel.config.experiment import Splits, build_callbacks
from polymodel.config.run import Config
from polymodel.errors import ConfigError
from polymodel.training import checkpoint
from polymodel.training.trainer import Trainer


def run(
    resolved: Config,
    place: Path,
    trainer: Trainer,
    data: Splits,
    *,
    resume: bool = False,
    start: Path | None = None,
    json_output: bool = False,
    export: Path | None = None,
) -> None:
    """Train, and write configuration, environment, log, history and checkpoints.

    Args:
        resolved: the configuration that the folder keeps.
        place: the folder.
        trainer: of the configuration.
        data: its samples.
        resume: go on from the newest checkpoint of the folder.
        start: go on from this checkpoint.
        json_output: print one JSON document instead of lines.
        export: file to write the trained model to, verified.
    """
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
    where = f"on {trainer.program.backend.name} ({', '.join(trainer.program.devices)})"
    say(f"training {where}, output {place}" + (f", from {newest}" if newest else ""))
    steps = [StepLines(say, resolved.log_every)] if resolved.log_every else []
    began = time.perf_counter()
    try:
        trainer.fit(
            data.train,
            epochs=resolved.epochs,
            batch_size=resolved.batch_size,
            validation=data.validation,
            validate_every=resolved.validate_every,
            callbacks=[*build_callbacks(resolved, place), Lines(say), *steps],
            progress=not json_output,
            resume=newest,
        )
    except BaseException as error:
        folder.log(f"ended with {type(error).__name__}: {error}")
        raise
    seconds = time.perf_counter() - began
    test = None if data.test is None else plain(trainer.evaluate(data.test))
    try:
        trainer.history.plot(place / "history.svg")
    except ConfigError as error:  # matplotlib is not installed
        folder.log(f"no plot: {error}")
    folder.log(f"done in {seconds:.1f} s" + ("" if test is None else f"; test {test}"))
    if export is not None:
        trainer.export(export)
        folder.log(f"wrote {export}, verified")
    if json_output:
        result: dict[str, Any] = {
            "run": str(place),
            "backend": trainer.program.backend.name,
            "device": trainer.program.device,
            "checkpoint": str(folder.checkpoint("best")),
            "seconds": seconds,
            "history": trainer.history.to_json(),
            "test": test,
        }
        if export is not None:
            result["export"] = str(export)
        print(json.dumps(result))
        return
    last = {n: v for n, v in trainer.history[-1].items() if n not in ("epoch", "step", "lr", "seconds")}
    last |= {f"test_{n}": v for n, v in (test or {}).items()}
    print(f"done {where} in {seconds:.1f} s: " + line(last))
    if export is not None:
        print(f"exported, verified: {export}")
    print(f"run folder: {place}")
