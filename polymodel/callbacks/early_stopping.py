"""Stopping when nothing gets better any more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from polymodel.callbacks.base import Callback
from polymodel.callbacks.monitor import Mode, Monitor
from polymodel.errors import ConfigError
from polymodel.optim.average import is_average

if TYPE_CHECKING:
    from polymodel.training.fit import Fit
    from polymodel.training.history import Row


@final
class EarlyStopping(Callback):
    """Stop after `patience` epochs in a row without a better value.

    Epochs that lack the column (validation every n epochs) do not count.

    Args:
        monitor: column of the history.
        patience: epochs without a better value that end the fit, >= 1.
        min_delta: by how much a value must be better.
        mode: "min", "max" or "auto"; see Monitor.
        restore_best: at the end of the fit, take back parameters, their averages and buffers of the best epoch (of this process: a
            resumed fit that finds nothing better keeps its last ones, and says so in `fit.reason`).

    Raises:
        ConfigError: an impossible value; at the start of a fit, a column that it will not have.

    Example:
        >>> EarlyStopping("val_loss", patience=3).patience
        3
    """

    order: ClassVar[int] = 10

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        min_delta: float = 0.0,
        mode: Mode = "auto",
        restore_best: bool = False,
    ) -> None:
        if isinstance(patience, bool) or not isinstance(patience, int) or patience < 1:
            raise ConfigError(f"patience must be an integer of 1 or more, received {patience!r}")
        self.monitor = Monitor(monitor, mode, min_delta)
        self.patience = patience
        self.waited = 0
        self.restore_best = restore_best
        self._best: tuple[dict[str, np.ndarray], ...] | None = None

    def on_start(self, fit: Fit) -> None:
        self.monitor.check(fit.columns)
        self._decide(fit)  # a checkpoint of a fit that had stopped

    def on_epoch(self, fit: Fit, row: Row) -> None:
        if self.monitor.column not in row:
            return
        better = self.monitor.improved(row)
        self.waited = 0 if better else self.waited + 1
        if better and self.restore_best:
            program = fit.trainer.program
            averages = {n: a for n, a in program.slots.items() if is_average(n)}
            self._best = program.parameters, program.buffers, averages
        self._decide(fit)

    def on_end(self, fit: Fit) -> None:
        if not self.restore_best:
            return
        if self._best is not None:
            program = fit.trainer.program
            program.parameters, program.buffers, program.slots = self._best
        elif not math.isnan(self.monitor.best):
            fit.stop("the best epoch lies before the checkpoint that this fit began with: load the best checkpoint")

    def _decide(self, fit: Fit) -> None:
        if self.waited >= self.patience:
            fit.stop(f"{self.monitor.column} has not been better than {self.monitor.best:.6g} for {self.waited} epochs")

    def state(self) -> dict[str, Any]:
        return {**self.monitor.state(), "waited": self.waited}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.monitor.restore(state)
        self.waited = int(state["waited"])
