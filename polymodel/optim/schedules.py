"""How the learning rate changes over a run: a factor that the optimizer's own rate is multiplied with.

Every formula is a function of t alone, the time since the start of training, so that a resumed run needs no state. Time
is counted in steps or in epochs (`unit`); an epoch's share counts: the middle of the first epoch is t = 0.5.
"""

from __future__ import annotations

import bisect
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, final

from polymodel.errors import ConfigError

Unit: TypeAlias = Literal["step", "epoch"]


class Schedule(ABC):
    """A factor over time.

    Attributes:
        name: the word in configurations and checkpoints.
        unit: what time is counted in.
    """

    name: ClassVar[str]
    unit: Unit

    @abstractmethod
    def factor(self, t: float) -> float:
        """What the learning rate is multiplied with at time t, 0 at the first step."""


@final
@dataclass(frozen=True)
class Constant(Schedule):
    """The optimizer's own learning rate throughout.

    Example:
        >>> Constant().factor(100)
        1.0
    """

    name: ClassVar[str] = "constant"
    unit: Unit = "step"

    def factor(self, t: float) -> float:
        return 1.0


@final
@dataclass(frozen=True)
class Step(Schedule):
    """gamma ** floor(t / every), as torch.optim.lr_scheduler.StepLR.

    Args:
        every: time between two drops, > 0.
        gamma: factor of one drop, > 0.
        unit: "epoch" or "step".

    Raises:
        ConfigError: a value outside its range.

    Example:
        >>> Step(every=10, gamma=0.5).factor(25)
        0.25
    """

    name: ClassVar[str] = "step"
    every: float
    gamma: float = 0.1
    unit: Unit = "epoch"

    def __post_init__(self) -> None:
        positive(self, "every", self.every)
        positive(self, "gamma", self.gamma)

    def factor(self, t: float) -> float:
        return float(self.gamma ** math.floor(t / self.every))


@final
@dataclass(frozen=True)
class MultiStep(Schedule):
    """gamma ** (number of milestones at or before t), as torch.optim.lr_scheduler.MultiStepLR.

    Args:
        milestones: times of the drops, ascending, each > 0.
        gamma: factor of one drop, > 0.
        unit: "epoch" or "step".

    Raises:
        ConfigError: a value outside its range.

    Example:
        >>> MultiStep((30, 80), gamma=0.5).factor(80)
        0.25
    """

    name: ClassVar[str] = "multi_step"
    milestones: tuple[float, ...]
    gamma: float = 0.1
    unit: Unit = "epoch"

    def __post_init__(self) -> None:
        if not isinstance(self.milestones, list | tuple) or not self.milestones:
            raise ConfigError(f"schedule {self.name!r}: milestones is a list of times, received {self.milestones!r}")
        for milestone in self.milestones:
            positive(self, "a milestone", milestone)
        object.__setattr__(self, "milestones", tuple(self.milestones))
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ConfigError(f"schedule {self.name!r}: milestones ascend, received {list(self.milestones)}")
        positive(self, "gamma", self.gamma)

    def factor(self, t: float) -> float:
        return float(self.gamma ** bisect.bisect_right(self.milestones, t))


@final
@dataclass(frozen=True)
class Exponential(Schedule):
    """gamma ** t, as torch.optim.lr_scheduler.ExponentialLR; keras.optimizers.schedules.ExponentialDecay with
    decay_rate = gamma ** decay_steps.

    Args:
        gamma: factor of one unit of time, > 0.
        unit: "epoch" or "step".

    Raises:
        ConfigError: a value outside its range.

    Example:
        >>> Exponential(0.5).factor(2)
        0.25
    """

    name: ClassVar[str] = "exponential"
    gamma: float
    unit: Unit = "epoch"

    def __post_init__(self) -> None:
        positive(self, "gamma", self.gamma)

    def factor(self, t: float) -> float:
        return float(self.gamma**t)


@final
@dataclass(frozen=True)
class Polynomial(Schedule):
    """final + (1 - final) (1 - min(t, length) / length) ** power: torch.optim.lr_scheduler.PolynomialLR (final 0),
    keras.optimizers.schedules.PolynomialDecay (without cycle). With power 1 a straight line.

    Args:
        length: time to fall from 1 to `final`, > 0.
        power: exponent, > 0.
        final: factor at the end, in [0, 1].
        unit: "epoch" or "step".

    Raises:
        ConfigError: a value outside its range.

    Example:
        >>> Polynomial(length=10, power=2.0).factor(5)
        0.25
    """

    name: ClassVar[str] = "polynomial"
    length: float
    power: float = 1.0
    final: float = 0.0
    unit: Unit = "epoch"

    def __post_init__(self) -> None:
        positive(self, "length", self.length)
        positive(self, "power", self.power)
        share(self, "final", self.final)

    def factor(self, t: float) -> float:
        return self.final + (1.0 - self.final) * math.pow(1.0 - min(t, self.length) / self.length, self.power)


@final
@dataclass(frozen=True)
class InverseSqrt(Schedule):
    """min((t + 1) / length, sqrt(length / (t + 1))): a straight line up, then the inverse root of time.

    Vaswani et al., "Attention is all you need", 2017, equation 3, divided by its largest value.

    Args:
        length: time of the line, > 0.
        unit: "epoch" or "step".

    Raises:
        ConfigError: a value outside its range.

    Example:
        >>> [InverseSqrt(length=4).factor(t) for t in (0, 3, 15)]
        [0.25, 1.0, 0.5]
    """

    name: ClassVar[str] = "inverse_sqrt"
    length: float
    unit: Unit = "step"

    def __post_init__(self) -> None:
        positive(self, "length", self.length)

    def factor(self, t: float) -> float:
        return min((t + 1.0) / self.length, math.sqrt(self.length / (t + 1.0)))


def same_unit(schedule: Schedule, inner: Schedule) -> None:
    if inner.unit != schedule.unit and not isinstance(inner, Constant):
        raise ConfigError(
            f"schedule {schedule.name!r} counts in unit={schedule.unit!r} but what follows ({inner.name!r}) in "
            f"unit={inner.unit!r}: give both the same unit"
        )


def positive(schedule: Schedule, name: str, value: float) -> None:
    if not (_is_number(value) and 0 < value < math.inf):
        raise ConfigError(f"schedule {schedule.name!r}: {name} must be a finite number above 0, received {value!r}")
    _check_unit(schedule)


def share(schedule: Schedule, name: str, value: float) -> None:
    if not (_is_number(value) and 0 <= value <= 1):
        raise ConfigError(f"schedule {schedule.name!r}: {name} must be in [0, 1], received {value!r}")


def _check_unit(schedule: Schedule) -> None:
    if schedule.unit not in ("step", "epoch"):
        raise ConfigError(f"schedule {schedule.name!r}: unit must be 'step' or 'epoch', received {schedule.unit!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
