"""Learning rates that depend on how the fit goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, final

from polymodel.callbacks.base import Callback
from polymodel.callbacks.monitor import Mode, Monitor
from polymodel.errors import ConfigError

if TYPE_CHECKING:
    from polymodel.training.fit import Fit
    from polymodel.training.history import Row


@final
class ReduceOnPlateau(Callback):
    """Multiply the learning rate by `factor` after `patience` epochs in a row without a better value.

    As keras.callbacks.ReduceLROnPlateau; torch's ReduceLROnPlateau waits one epoch longer. It multiplies what optimizer and
    schedule say (`Trainer.lr_factor`), and a resumed fit goes on with it.

    Args:
        monitor: column of the history.
        factor: in (0, 1).
        patience: epochs without a better value, >= 1.
        min_delta: by how much a value must be better.
        cooldown: epochs after a reduction that do not count.
        min_factor: the product of all reductions never falls below it.
        mode: "min", "max" or "auto"; see Monitor.

    Raises:
        ConfigError: an impossible value; at the start of a fit, a column that it will not have.

    Example:
        >>> ReduceOnPlateau("val_loss", factor=0.5, patience=3).factor
        0.5
    """

    order: ClassVar[int] = 10

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_factor: float = 0.0,
        mode: Mode = "auto",
    ) -> None:
        if not 0 < factor < 1:
            raise ConfigError(f"factor must be in (0, 1), received {factor!r}")
        for name, value, least in (("patience", patience, 1), ("cooldown", cooldown, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"{name} must be an integer of {least} or more, received {value!r}")
        self.monitor = Monitor(monitor, mode, min_delta)
        self.factor, self.patience, self.cooldown, self.min_factor = factor, patience, cooldown, min_factor
        self.waited = 0
        self.resting = 0

    def on_start(self, fit: Fit) -> None:
        self.monitor.check(fit.columns)

    def on_epoch(self, fit: Fit, row: Row) -> None:
        if self.monitor.column not in row:
            return
        better = self.monitor.improved(row)
        if self.resting:
            self.resting -= 1
            self.waited = 0
        elif better:
            self.waited = 0
        else:
            self.waited += 1
        if self.waited >= self.patience:
            fit.trainer.lr_factor = max(fit.trainer.lr_factor * self.factor, self.min_factor)
            self.waited, self.resting = 0, self.cooldown

    def state(self) -> dict[str, Any]:
        return {**self.monitor.state(), "waited": self.waited, "resting": self.resting}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.monitor.restore(state)
        self.waited, self.resting = int(state["waited"]), int(state["resting"])


@final
class LearningRate(Callback):
    """Set the learning rate at the start of each epoch by a function, as keras.callbacks.LearningRateScheduler.

    A schedule (`Trainer(schedule=...)`) does the same for every step and needs no callback. What the function returns is a factor
    of the optimizer's rate and takes the place of the schedule's.

    Args:
        function: of the epoch, from 0, to a factor.

    Example:
        >>> LearningRate(lambda epoch: 0.5**epoch).function(2)
        0.25
    """

    order: ClassVar[int] = -10

    def __init__(self, function: Callable[[int], float]) -> None:
        self.function = function

    def on_start(self, fit: Fit) -> None:
        if fit.trainer.schedules:
            raise ConfigError(
                f"the trainer has the schedule {fit.trainer.schedules[0]!r}: leave it out, or the callback LearningRate"
            )

    def on_epoch_start(self, fit: Fit) -> None:
        fit.trainer.lr_factor = float(self.function(fit.trainer.epoch))
