"""Saving the run while it goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

from polymodel.callbacks.base import Callback
from polymodel.callbacks.monitor import Mode, Monitor
from polymodel.errors import CheckpointError, ConfigError
from polymodel.training import checkpoint

if TYPE_CHECKING:
    from polymodel.training.fit import Fit
    from polymodel.training.history import Row

_BEST = "best.json"


@final
class Checkpoints(Callback):
    """Save every n epochs, every n steps, and whenever an epoch is the best so far.

    Args:
        folder: holds a folder for each checkpoint, step-N, and best.json, which names the best.
        every: epochs between checkpoints, 0 for none.
        every_steps: steps between checkpoints, 0 for none; a fit resumes in the middle of an epoch as well.
        best: column of the history whose best epoch is kept, None for none.
        mode: "min", "max" or "auto"; see Monitor.
        keep: how many of the newest are kept besides the best; 0 keeps all.

    Raises:
        ConfigError: an impossible value.
        CheckpointError: the folder holds a later state of another run, or cannot be written.

    Example:
        >>> Checkpoints("run/checkpoints", every=5, best="val_accuracy").every
        5
    """

    order: ClassVar[int] = 100  # after everything whose state a checkpoint holds

    def __init__(
        self,
        folder: str | os.PathLike[str],
        every: int = 1,
        *,
        every_steps: int = 0,
        best: str | None = None,
        mode: Mode = "auto",
        keep: int = 3,
    ) -> None:
        for name, value in (("every", every), ("every_steps", every_steps), ("keep", keep)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ConfigError(f"{name} must be an integer of 0 or more, received {value!r}")
        self.folder = Path(folder)
        self.every, self.every_steps, self.keep = every, every_steps, keep
        self.monitor = None if best is None else Monitor(best, mode)
        self.best: str | None = None

    def on_start(self, fit: Fit) -> None:
        if self.monitor is not None:
            self.monitor.check(fit.columns)
        newest = checkpoint.complete(self.folder)
        later = [p for p in newest if int(p.name[5:].split(".")[0]) > fit.trainer.step]
        if later:
            raise CheckpointError(
                f"{self.folder} holds {later[-1].name}, a later state than step {fit.trainer.step} where this fit "
                f"starts: resume from it (resume={str(self.folder)!r}), or choose another folder"
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"cannot make folder {self.folder}: {error}: choose one that is writable") from error
        checkpoint.remove_partial(self.folder)
        if self.best is not None and (self.folder / self.best).is_dir():
            self._mark(self.best)  # a run killed between saving and marking

    def on_step(self, fit: Fit) -> None:
        if self.every_steps and fit.trainer.step % self.every_steps == 0 and fit.batch != fit.batches:
            self._save(fit)

    def on_epoch(self, fit: Fit, row: Row) -> None:
        better = self.monitor is not None and self.monitor.column in row and self.monitor.improved(row)
        due = self.every and (fit.trainer.epoch % self.every == 0 or fit.is_last)
        if better or due or (self.every_steps and fit.trainer.step % self.every_steps == 0):
            self._save(fit, best=better)

    def state(self) -> dict[str, Any]:
        return {"best_checkpoint": self.best, **({} if self.monitor is None else self.monitor.state())}

    def restore(self, state: Mapping[str, Any]) -> None:
        if self.monitor is not None and state.get("column") == self.monitor.column:
            self.monitor.restore(state)
            self.best = state["best_checkpoint"]

    def _save(self, fit: Fit, best: bool = False) -> None:
        path = checkpoint.fresh_name(self.folder, fit.trainer.step)
        if best:
            self.best = path.name
        fit.save(path)
        if best:
            self._mark(path.name)
        if self.keep:
            for old in checkpoint.complete(self.folder)[: -self.keep]:
                if old.name != self.best:
                    checkpoint.remove(old)

    def _mark(self, name: str) -> None:
        assert self.monitor is not None
        record = {"checkpoint": name, **self.monitor.state()}
        temporary = self.folder / f".{_BEST}"
        try:
            with temporary.open("w", encoding="utf-8") as stream:
                stream.write(json.dumps(record) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, self.folder / _BEST)
        except OSError as error:
            raise CheckpointError(f"cannot write {self.folder / _BEST}: {error}; free space there") from error


def best(folder: str | os.PathLike[str]) -> Path | None:
    """The best checkpoint of a folder; None when none is marked."""
    file = Path(folder) / _BEST
    try:
        name = json.loads(file.read_text(encoding="utf-8"))["checkpoint"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{file} is damaged ({error}): delete it to use the newest checkpoint") from error
    return Path(folder) / str(name)
