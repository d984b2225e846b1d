"""A line of text every few steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, final

from polymodel.callbacks.base import Callback
from polymodel.errors import ConfigError

if TYPE_CHECKING:
    from polymodel.training.fit import Fit


@final
class StepLines(Callback):
    """Hand a line about the epoch up to now to a function: batch, steps per second since the last line, means of loss and metrics;
    what mx.callback.Speedometer prints.

    Args:
        write: takes the line, without a line end.
        every: steps between two lines.

    Raises:
        ConfigError: `every` is no integer of 1 or more.

    Example:
        >>> StepLines(print, every=50).every
        50
    """

    order: ClassVar[int] = 30

    def __init__(self, write: Callable[[str], None], every: int = 1) -> None:
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ConfigError(f"every must be an integer of 1 or more, received {every!r}")
        self.write, self.every = write, every
        self._at, self._step = 0.0, 0

    def on_epoch_start(self, fit: Fit) -> None:
        self._at, self._step = time.perf_counter(), fit.done

    def on_step(self, fit: Fit) -> None:
        if fit.done - self._step < self.every:
            return
        now = time.perf_counter()
        rate = (fit.done - self._step) / (now - self._at)
        self._at, self._step = now, fit.done
        numbers = "  ".join(f"{n} {v:.6g}" for n, v in fit.running.items())
        self.write(f"epoch {fit.epoch + 1}/{fit.epochs}  batch {fit.batch}/{fit.batches or '?'}  {rate:.3g} steps/s  {numbers}".rstrip())
