"""How the learning rate changes over a run: a factor that the optimizer's own rate is multiplied with.

Every formula is a function of t alone, the time since the start of training, so that a resumed run needs no state. Time
is counted in steps or in epochs (`unit`); an epoch's share counts: the middle of the first epoch is t = 0.5.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
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
        _positive(self, "every", self.every)
        _positive(self, "gamma", self.gamma)

    def factor(self, t: float) -> float:
        return float(self.gamma ** math.floor(t / self.every))


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
        _positive(self, "length", self.length)
        _share(self, "final", self.final)

    def factor(self, t: float) -> float:
        return self.final + (1.0 - self.final) * (1.0 + math.cos(math.pi * min(t, self.length) / self.length)) / 2.0


@final
@dataclass(frozen=True)
class Warmup(Schedule):
    """A straight line from `start` to 1 over `length`, then another schedule whose time begins there.

    As torch.optim.lr_scheduler.SequentialLR of LinearLR and the other one. Goyal et al., "Accurate, large minibatch
    SGD", 2017, section 2.2.

    Args:
        length: duration of the line, > 0.
        start: factor at the first step, in [0, 1].
        then: what follows; its unit must be this one's.
        unit: "epoch" or "step".

    Raises:
        ConfigError: a value outside its range, or two different units.

    Example:
        >>> Warmup(length=4, start=0.0).factor(1)
        0.25
    """

    name: ClassVar[str] = "warmup"
    length: float
    start: float = 0.0
    then: Schedule = field(default_factory=Constant)
    unit: Unit = "epoch"

    def __post_init__(self) -> None:
        _positive(self, "length", self.length)
        _share(self, "start", self.start)
        if self.then.unit != self.unit and not isinstance(self.then, Constant):
            raise ConfigError(
                f"schedule {self.name!r} counts in unit={self.unit!r} but what follows ({self.then.name!r}) in "
                f"unit={self.then.unit!r}: give both the same unit"
            )

    def factor(self, t: float) -> float:
        if t < self.length:
            return self.start + (1.0 - self.start) * t / self.length
        return self.then.factor(t - self.length)


def _positive(schedule: Schedule, name: str, value: float) -> None:
    if not (_is_number(value) and 0 < value < math.inf):
        raise ConfigError(f"schedule {schedule.name!r}: {name} must be a finite number above 0, received {value!r}")
    _check_unit(schedule)


def _share(schedule: Schedule, name: str, value: float) -> None:
    if not (_is_number(value) and 0 <= value <= 1):
        raise ConfigError(f"schedule {schedule.name!r}: {name} must be in [0, 1], received {value!r}")


def _check_unit(schedule: Schedule) -> None:
    if schedule.unit not in ("step", "epoch"):
        raise ConfigError(f"schedule {schedule.name!r}: unit must be 'step' or 'epoch', received {schedule.unit!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
