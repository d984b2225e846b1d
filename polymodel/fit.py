"""The loop of Trainer.fit: epochs of steps, and where it stands."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsFloat, final

import numpy as np

from polymodel import nonfinite, random
from polymodel.callbacks.base import Callback
from polymodel.data import Samples
from polymodel.errors import CheckpointError, ConfigError, NonFiniteLoss
from polymodel.means import Means

if TYPE_CHECKING:
    from polymodel.trainer import Trainer

_LAG = {"cpu": 1}
_LAG_OF_ACCELERATORS = 32
"""Steps that may be under way before a loss is read. Reading waits for the device; on a GPU it waits for everything
that was handed over before, so losses are read late there. What a step does never depends on it."""


@final
class Fit:
    """One call of Trainer.fit.

    Attributes:
        trainer: whose parameters are trained; counts steps and epochs over all its fits.
        epochs: epochs of this fit.
        batch: batches done in the current epoch.
        batches: batches of an epoch, the last partial one included.
        columns: columns that the history will have.
        reason: why it stopped early, "" if it did not.
    """

    def __init__(
        self,
        trainer: Trainer,
        samples: Samples,
        validation: Samples | None,
        *,
        epochs: int,
        batch_size: int,
        validate_every: int,
        shuffle: bool,
        callbacks: Sequence[Callback],
    ) -> None:
        for name, value in (("epochs", epochs), ("batch_size", batch_size), ("validate_every", validate_every)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name} must be an integer of 1 or more, received {value!r}")
        self.trainer = trainer
        self.samples, self.validation = samples, validation
        self.epochs, self.batch_size, self.validate_every, self.shuffle = epochs, batch_size, validate_every, shuffle
        self.callbacks = sorted(callbacks, key=lambda c: c.order)
        self.batches = samples.batch_count(batch_size)
        self.batch = 0
        self.reason = ""
        names = ("loss", *trainer.metric_names)
        held = tuple(f"val_{n}" for n in names) if validation is not None else ()
        self.columns = ("epoch", "step", "lr", *names, *held, "seconds")
        self._start_epoch = trainer.epoch
        self._means = Means()
        self._seconds = 0.0
        self._saved: Path | None = None
        self._pending: deque[tuple[int, int, Mapping[str, SupportsFloat]]] = deque()

    @property
    def epoch(self) -> int:
        """Epochs of this fit that are done."""
        return self.trainer.epoch - self._start_epoch

    @property
    def done(self) -> int:
        """Steps of this fit that are done."""
        return self.epoch * self.batches + self.batch

    @property
    def is_last(self) -> bool:
        """Whether no epoch comes after the one just done."""
        return bool(self.reason) or self.epoch >= self.epochs

    def stop(self, reason: str) -> None:
        """End the fit after the current epoch."""
        self.reason = self.reason or reason

    def run(self) -> None:
        """Do what is left of the fit."""
        started: list[Callback] = []
        try:
            for callback in self.callbacks:
                started.append(callback)
                callback.on_start(self)
            while not self.is_last:
                self._epoch()
        finally:
            for callback in started:
                callback.on_end(self)

    # -- the loop ---------------------------------------------------------------------------------------------------

    def _epoch(self) -> None:
        trainer, began = self.trainer, time.perf_counter()
        hooks = [c for c in self.callbacks if type(c).on_step is not Callback.on_step]
        lag = _LAG.get(trainer.program.device, _LAG_OF_ACCELERATORS)
        lr = trainer.optimizer.lr
        for feeds in self.samples.batches(self.batch_size, self._order(), self.batch):
            step = trainer.step + 1
            lr = trainer.learning_rate(step, self.batches)
            result = trainer.program.train_step(feeds, lr=lr, step=step)
            self._pending.append((step, self.batch, result))
            trainer.step = step
            self.batch += 1
            if len(self._pending) > lag:
                self._read(*self._pending.popleft())
            for hook in hooks:
                hook.on_step(self)
        self._drain()
        row = {"epoch": trainer.epoch + 1, "step": trainer.step, "lr": lr, **self._means.values()}
        trainer.epoch += 1
        self.batch, self._means = 0, Means()
        if self.validation is not None and (self.epoch % self.validate_every == 0 or self.epoch == self.epochs):
            held = trainer.evaluate_samples(self.validation, max(self.batch_size, 256))
            row |= {f"val_{n}": v for n, v in held.items()}
        row["seconds"] = self._seconds + time.perf_counter() - began
        self._seconds = 0.0
        trainer.history.append(row)
        for callback in self.callbacks:
            callback.on_epoch(self, row)

    def _order(self) -> np.ndarray | None:
        """The order of the samples in the current epoch."""
        if not self.shuffle:
            return None
        return random.permutation(self.trainer.seed, self.trainer.epoch, self.samples.count)

    def _read(self, step: int, batch: int, result: Mapping[str, SupportsFloat]) -> None:
        values = {n: float(v) for n, v in result.items()}
        if not math.isfinite(values["loss"]):
            self._give_up(step, batch, values["loss"])
        self._means.add(values, min(self.batch_size, self.samples.count - batch * self.batch_size))

    def _drain(self) -> None:
        while self._pending:
            self._read(*self._pending.popleft())

    def _give_up(self, step: int, batch: int, loss: float) -> None:
        self._pending.clear()
        feeds = next(self.samples.batches(self.batch_size, self._order(), batch))
        why = nonfinite.explain(self.trainer.program, feeds, step)
        kept = f" The last checkpoint is {self._saved}." if self._saved else ""
        raise NonFiniteLoss(
            f"the loss is {loss} at step {step} (epoch {self.epoch + 1}, batch {batch + 1} of {self.batches}): {why}. "
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
            "batch_size": self.batch_size,
            "samples": self.samples.count,
            "shuffle": self.shuffle,
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
        for name in ("batch_size", "samples", "shuffle") if state["batch"] else ():
            if state[name] != here[name]:
                raise CheckpointError(
                    f"checkpoint {path} was taken in the middle of an epoch with {name}={state[name]}, this fit has "
                    f"{name}={here[name]}: use the same, or a checkpoint of an epoch's end"
                )
        self._start_epoch = int(state["start_epoch"])
        self.batch = int(state["batch"])
        self._means = Means.from_json(state["means"])
        for callback in self.callbacks:
            if callback.key in state["callbacks"]:
                callback.restore(state["callbacks"][callback.key])
