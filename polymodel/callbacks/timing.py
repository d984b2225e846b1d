"""How fast a fit goes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar, final

from polymodel.callbacks.base import Callback

if TYPE_CHECKING:
    from polymodel.training.fit import Fit
    from polymodel.training.history import Row


@final
class Timing(Callback):
    """Rates of each epoch of this fit, without validation: `timing.rows`.

    A row has epoch, steps, seconds (from the start of the epoch to the end of its last step, the first compilation
    included), steps_per_second, and, where batches have one size, samples_per_second.

    Example:
        >>> Timing().rows
        []
    """

    order: ClassVar[int] = -100

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self._began = self._first = 0.0

    def on_epoch_start(self, fit: Fit) -> None:
        self._began, self._first = time.perf_counter(), fit.trainer.step

    def on_validation_start(self, fit: Fit) -> None:
        self._stop(fit)

    def on_epoch(self, fit: Fit, row: Row) -> None:
        if self._began:
            self._stop(fit)

    def _stop(self, fit: Fit) -> None:
        fit.trainer.program.synchronize()
        seconds, steps = time.perf_counter() - self._began, fit.trainer.step - self._first
        row = {"epoch": float(fit.trainer.epoch), "steps": steps, "seconds": seconds, "steps_per_second": steps / seconds}
        if fit.data.batch_size is not None and fit.data.samples is not None and fit.batches is not None:
            per_epoch = min(fit.data.samples, fit.batches * fit.data.batch_size)
            row["samples_per_second"] = per_epoch * steps / fit.batches / seconds
        self.rows.append(row)
        self._began = 0.0
