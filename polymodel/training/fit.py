"""The loop of Trainer.fit: epochs of steps, and where it stands."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsFloat, TypeAlias, final

from polymodel.callbacks.base import Callback
from polymodel.errors import CheckpointError, ConfigError, NonFiniteLoss
from polymodel.training import checkpoint
from polymodel.training.batches import Batches, Feeds, check_count
from polymodel.training.means import Means

if TYPE_CHECKING:
    from polymodel.training.fitted import Fitted
    from polymodel.training.history import History

_LAG = {"cpu": 1}
_LAG_OF_ACCELERATORS = 32
"""Steps that may be under way before a loss is read. Reading waits for the device; on a GPU it waits for everything
that was handed over before, so losses are read late there. What a step does never depends on it."""

_Step: TypeAlias = tuple[int, int, int, Mapping[str, SupportsFloat], Feeds | None]
"""A step under way: its number, its batch in the epoch, samples, what it returns, and its feeds if they come but once."""


@final
class Fit:
    """One call of Trainer.fit.

    Attributes:
        trainer: whose parameters are trained; counts steps and epochs over all its fits.
        epochs: epochs of this fit.
        batch: batches done in the current epoch.
        batches: batches of an epoch, the last partial one included; None while nobody knows.
        columns: columns that the history will have.
        reason: why it stopped early, "" if it did not.
    """

    def __init__(
        self,
        trainer: Fitted,
        data: Batches,
        validation: Batches | None,
        *,
        epochs: int,
        initial_epoch: int,
        validate_every: int,
        steps_per_execution: int,
        callbacks: Sequence[Callback],
    ) -> None:
        for name, value in (("epochs", epochs), ("validate_every", validate_every), ("steps_per_execution", steps_per_execution)):
            check_count(name, value)
        if not isinstance(initial_epoch, int) or not 0 <= initial_epoch < epochs:
            raise ConfigError(f"initial_epoch must be an integer from 0 to epochs - 1, received {initial_epoch!r}")
        self.trainer = trainer
        self.data, self.validation = data, validation
        self.epochs, self.validate_every, self.turn = epochs - initial_epoch, validate_every, steps_per_execution
        self.callbacks = sorted(callbacks, key=lambda c: c.order)
        self.batches = data.count
        self.batch = 0
        self.reason = ""
        if initial_epoch:
            trainer.epoch, trainer.step = initial_epoch, initial_epoch * (data.count or 0)
        names = ("loss", *trainer.scalar_names)
        held = tuple(f"val_{n}" for n in names) if validation is not None else ()
        self.columns = ("epoch", "step", "lr", *names, *held, "seconds")
        self._start_epoch, self._start_step = trainer.epoch, trainer.step
        self._streaming = trainer.streaming
        self._means = Means(trainer.streaming)
        self._seconds = 0.0
        self._saved: Path | None = None
        self._pending: deque[_Step] = deque()

    @property
    def epoch(self) -> int:
        """Epochs of this fit that are done."""
        return self.trainer.epoch - self._start_epoch

    @property
    def done(self) -> int:
        """Steps of this fit that are done."""
        return self.trainer.step - self._start_step

    @property
    def running(self) -> dict[str, float]:
        """Means of loss and metrics over the current epoch's steps whose results have been read; that of the last may be under way."""
        return _scalars(self._means.values())

    @property
    def is_last(self) -> bool:
        """Whether no epoch comes after the one just done."""
        return bool(self.reason) or self.epoch >= self.epochs

    def stop(self, reason: str) -> None:
        """End the fit after the current epoch."""
        self.reason = self.reason or reason

    def run_from(self, resume: str | os.PathLike[str] | None) -> History:
        """Go on from a checkpoint, if one is named, and do what is left; models have the trained values however it ends.

        Raises:
            CheckpointError: it is damaged or of something else.
        """
        if resume is not None:
            path = checkpoint.resolve(resume)
            self.restore(self.trainer.load_checkpoint(path).record.get("fit"), path)
        try:
            self.run()
        finally:
            self.trainer.write_back()
        return self.trainer.history

    def run(self) -> None:
        """Do what is left of the fit."""
        started: list[Callback] = []
        try:
            for callback in self.callbacks:
                started.append(callback)
                callback.on_start(self)
            while not self.is_last:
                self._epoch()
        except NonFiniteLoss as error:
            if not any(c.ends_on_nan for c in self.callbacks):
                raise
            self._pending.clear()
            self.stop(str(error))
        finally:
            for callback in reversed(started):
                callback.on_end(self)

    # -- the loop ---------------------------------------------------------------------------------------------------

    def _epoch(self) -> None:
        trainer, began = self.trainer, time.perf_counter()
        trainer.take_weights_along(self.data, self.validation)
        for callback in self.callbacks:
            callback.on_epoch_start(self)
        hooks = [c for c in self.callbacks if c.sees_steps]
        lag = _LAG.get(trainer.program.device, _LAG_OF_ACCELERATORS)
        lr, turn, keep = 0.0, self.turn, self.data.samples is None
        for count, feeds in self.data.epoch(trainer.epoch, self.batch):
            step = trainer.step + 1
            lr, result = trainer.take_step(feeds, step, self.batches)
            self._pending.append((step, self.batch, count, result, feeds if keep else None))
            trainer.step = step
            self.batch += 1
            if turn > 1 and self.batch % turn:
                continue
            while len(self._pending) > lag:
                self._read(*self._pending.popleft())
            for hook in hooks:
                hook.on_step(self)
        self._drain()
        for hook in hooks if self.batch % turn else ():
            hook.on_step(self)
        row = {"epoch": trainer.epoch + 1, "step": trainer.step, "lr": lr, **_scalars(self._means.values())}
        trainer.epoch += 1
        self.batch, self._means = 0, Means(trainer.streaming)
        if self.validation is not None and (self.epoch % self.validate_every == 0 or self.epoch == self.epochs):
            row |= self._validate(self.validation)
        row["seconds"] = self._seconds + time.perf_counter() - began
        self._seconds = 0.0
        trainer.history.append(row)
        for callback in self.callbacks:
            callback.on_epoch(self, row)

    def _validate(self, batches: Batches) -> dict[str, float]:
        for callback in self.callbacks:
            callback.on_validation_start(self)
        held = {f"val_{n}": v for n, v in _scalars(self.trainer.evaluate_batches(batches)).items()}
        for callback in reversed(self.callbacks):
            callback.on_validation_end(self)
        return held

    def _read(
        self, step: int, batch: int, count: int, result: Mapping[str, SupportsFloat], feeds: Feeds | None
    ) -> None:
        values: dict[str, Any] = {n: float(v) for n, v in result.items() if n not in self._streaming}
        for name in self.trainer.losses:
            if not math.isfinite(values.get(name, 0.0)):
                self._give_up(step, batch, f"{name} is {values[name]}", feeds)
        if self._streaming:
            read = self.trainer.program.read
            values = {n: values[n] if n in values else read(v) for n, v in result.items()}
        self._means.add(values, count)

    def _drain(self) -> None:
        while self._pending:
            self._read(*self._pending.popleft())

    def _give_up(self, step: int, batch: int, what: str, feeds: Feeds | None) -> None:
        self._pending.clear()
        feeds = self.data.again(self.trainer.epoch, batch) if feeds is None else feeds
        why = "the batch cannot be had again" if feeds is None else self.trainer.explain(feeds, step)
        kept = f" The last checkpoint is {self._saved}." if self._saved else ""
        raise NonFiniteLoss(
            f"the {what} at step {step} (epoch {self.epoch + 1}, batch {batch + 1} of {self.batches or '?'}): {why}. "
            f"That step changed nothing.{kept}"
        )

    # -- checkpoints ------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a checkpoint from which this fit can go on.

        Raises:
            CheckpointError: it cannot be written.
            NonFiniteLoss: a loss or a parameter is not finite: that state is not worth keeping.
        """
        self._drain()
        self._saved = self.trainer.save_checkpoint(path, fit=self.state())
        return self._saved

    def state(self) -> dict[str, Any]:
        """Where the fit stands, for a checkpoint."""
        return {
            "epochs": self.epochs,
            "start_epoch": self._start_epoch,
            "batch": self.batch,
            "batch_size": self.data.batch_size,
            "samples": self.data.samples,
            "shuffle": getattr(self.data, "seed", None) is not None,
            "batches": self.batches,
            "means": self._means.to_json(),
            "callbacks": {c.key: c.state() for c in self.callbacks},
        }

    def restore(self, state: Mapping[str, Any] | None, path: Path) -> None:
        """Take over the place of a checkpoint.

        Raises:
            CheckpointError: it was taken in the middle of an epoch that this fit would cut differently.
        """
        if state is None:
            return
        self._saved = path
        here = self.state()
        for name in ("batch_size", "samples", "shuffle", "batches") if state["batch"] else ():
            if state.get(name, here[name]) != here[name]:
                raise CheckpointError(
                    f"checkpoint {path} was taken in the middle of an epoch with {name}={state[name]}, this fit has "
                    f"{name}={here[name]}: use the same, or a checkpoint of an epoch's end"
                )
        self._start_epoch = int(state["start_epoch"])
        self._start_step = self.trainer.step - (self.epoch * self.batches + int(state["batch"]) if self.batches else 0)
        self.batch = int(state["batch"])
        self._means = Means.from_json(state["means"], self._streaming)
        for callback in self.callbacks:
            if callback.key in state["callbacks"]:
                callback.restore(state["callbacks"][callback.key])


def _scalars(values: Mapping[str, Any]) -> dict[str, float]:
    return {n: v for n, v in values.items() if isinstance(v, float)}
