"""Schedules made of schedules."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from typing import ClassVar, final

from polymodel.errors import ConfigError
from polymodel.optim.schedules import Constant, Schedule, Unit, positive, same_unit, share


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
        positive(self, "length", self.length)
        share(self, "start", self.start)
        same_unit(self, self.then)

    def factor(self, t: float) -> float:
        if t < self.length:
            return self.start + (1.0 - self.start) * t / self.length
        return self.then.factor(t - self.length)


@final
@dataclass(frozen=True)
class Chain(Schedule):
    """Several schedules after each other, each with a time of its own, as torch.optim.lr_scheduler.SequentialLR.

    Args:
        parts: the schedules, all of this unit.
        milestones: when each but the first begins, ascending; one fewer than parts.
        unit: "epoch" or "step".

    Raises:
        ConfigError: numbers that do not fit together, or different units.

    Example:
        >>> from polymodel.optim.schedules import Exponential
        >>> chain = Chain((Warmup(length=2), Constant(), Exponential(0.5)), milestones=(2, 5))
        >>> [chain.factor(t) for t in (0, 1, 2, 5, 6)]
        [0.0, 0.5, 1.0, 1.0, 0.5]
    """

    name: ClassVar[str] = "chain"
    parts: tuple[Schedule, ...]
    milestones: tuple[float, ...]
    unit: Unit = "epoch"

    def __post_init__(self) -> None:
        for name in ("parts", "milestones"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.parts) != len(self.milestones) + 1:
            raise ConfigError(
                f"schedule {self.name!r}: {len(self.parts)} parts need {len(self.parts) - 1} milestones, received "
                f"{len(self.milestones)}"
            )
        for milestone in self.milestones:
            positive(self, "a milestone", milestone)
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ConfigError(f"schedule {self.name!r}: milestones ascend, received {list(self.milestones)}")
        for part in self.parts:
            same_unit(self, part)

    def factor(self, t: float) -> float:
        place = bisect.bisect_right(self.milestones, t)
        return self.parts[place].factor(t - self.milestones[place - 1] if place else t)
