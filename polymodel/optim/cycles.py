"""Schedules that go along a wave: cosine, with restarts, and up and down once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, final

from polymodel.errors import ConfigError
from polymodel.optim.schedules import Schedule, Unit, positive, share


@final
@dataclass(frozen=True)
class Cosine(Schedule):
    """final + (1 - final) (1 + cos(pi min(t, length) / length)) / 2.

    Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, equation 5, without
    restarts: torch.optim.lr_scheduler.CosineAnnealingLR up to its T_max, and `final` from then on.

    Args:
        length: time to fall from 1 to `final`, > 0.
        final: factor at the end, in [0, 1].
        unit: "epoch" or "step".

    Raises:
        ConfigError: a value outside its range.

    Example:
        >>> Cosine(length=10).factor(5)
        0.5
    """

    name: ClassVar[str] = "cosine"
    length: float
    final: float = 0.0
    unit: Unit = "epoch"

    def __post_init__(self) -> None:
        positive(self, "length", self.length)
        share(self, "final", self.final)

    def factor(self, t: float) -> float:
        return self.final + (1.0 - self.final) * (1.0 + math.cos(math.pi * min(t, self.length) / self.length)) / 2.0


@final
@dataclass(frozen=True)
class CosineRestarts(Schedule):
    """Cosine that starts again at 1 after `length`, then after length * growth, length * growth^2, ...

    Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, equation 5, as
    torch.optim.lr_scheduler.CosineAnnealingWarmRestarts (T_0 = length, T_mult = growth); a restart's first step has the
    factor decay ** (number of restarts), which is m_mul of keras.optimizers.schedules.CosineDecayRestarts.

    Args:
        length: duration of the first period, > 0.
        growth: by what each period is longer than the one before, >= 1.
        final: factor at the end of the first period, in [0, 1]; it is not decayed.
        decay: factor of the peak of each restart, in (0, 1].
        unit: "epoch" or "step".

    Raises:
        ConfigError: a value outside its range.

    Example:
        >>> [CosineRestarts(length=2, growth=2).factor(t) for t in (0, 1, 2, 4)]
        [1.0, 0.5, 1.0, 0.5]
    """

    name: ClassVar[str] = "cosine_restarts"
    length: float
    growth: float = 1.0
    final: float = 0.0
    decay: float = 1.0
    unit: Unit = "epoch"

    def __post_init__(self) -> None:
        for name in ("length", "growth", "decay"):
            positive(self, name, getattr(self, name))
        share(self, "final", self.final)
        if self.growth < 1 or self.decay > 1:
            raise ConfigError(
                f"schedule {self.name!r}: growth is 1 or more and decay at most 1, received {self.growth!r} and "
                f"{self.decay!r}"
            )

    def factor(self, t: float) -> float:
        restarts, begin, period = self._period(t)
        peak = self.decay**restarts
        low = min(self.final, peak)
        return low + (peak - low) * (1.0 + math.cos(math.pi * (t - begin) / period)) / 2.0

    def _period(self, t: float) -> tuple[int, float, float]:
        """Number, start and duration of the period that t lies in."""
        if self.growth == 1:
            number = math.floor(t / self.length)
            return number, number * self.length, self.length
        number, begin, period = 0, 0.0, float(self.length)
        while t >= begin + period:
            number, begin, period = number + 1, begin + period, period * self.growth
        return number, begin, period


@final
@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up from 1 / start_div to 1, then down to 1 / (start_div * final_div), and there from then on.

    Smith & Topin, "Super-convergence", 2017, as torch.optim.lr_scheduler.OneCycleLR with two phases: the optimizer's rate
    is max_lr, `length` is total_steps - 1 and the peak lies at pct_start * total_steps - 1, in steps. Momentum is not
    cycled (cycle_momentum=False).

    Args:
        length: time from the first to the last value, > 0.
        peak: time of the largest value, in (0, length).
        start_div: what the peak is divided by at the start, >= 1.
        final_div: what the start is divided by at the end, >= 1.
        curve: "cosine" or "linear" (torch: anneal_strategy).
        unit: "epoch" or "step".

    Raises:
        ConfigError: a value outside its range.

    Example:
        >>> cycle = OneCycle(length=10, peak=3)
        >>> cycle.factor(0), cycle.factor(3)
        (0.04, 1.0)
    """

    name: ClassVar[str] = "one_cycle"
    length: float
    peak: float
    start_div: float = 25.0
    final_div: float = 1e4
    curve: Literal["cosine", "linear"] = "cosine"
    unit: Unit = "epoch"

    def __post_init__(self) -> None:
        for name in ("length", "peak", "start_div", "final_div"):
            positive(self, name, getattr(self, name))
        if self.peak >= self.length:
            raise ConfigError(f"schedule {self.name!r}: peak lies before length, received {self.peak} and {self.length}")
        if self.start_div < 1 or self.final_div < 1:
            raise ConfigError(f"schedule {self.name!r}: start_div and final_div are 1 or more")
        if self.curve not in ("cosine", "linear"):
            raise ConfigError(f"schedule {self.name!r}: curve is 'cosine' or 'linear', received {self.curve!r}")

    def factor(self, t: float) -> float:
        start = 1.0 / self.start_div
        if t <= self.peak:
            return self._between(start, 1.0, t / self.peak)
        share = (min(t, self.length) - self.peak) / (self.length - self.peak)
        return self._between(1.0, start / self.final_div, share)

    def _between(self, a: float, b: float, share: float) -> float:
        if self.curve == "linear":
            return a + (b - a) * share
        weight = (1.0 + math.cos(math.pi * share)) / 2.0
        return a * weight + b * (1.0 - weight)
