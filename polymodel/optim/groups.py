"""Other hyperparameters for some parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from typing import Any, final

import numpy as np

from polymodel.builder import Builder
from polymodel.errors import ConfigError
from polymodel.optim.base import Optimizer
from polymodel.optim.wrapped import Wrapped
from polymodel.tensor import Tensor


@final
@dataclass(frozen=True)
class Group:
    """Parameters by name, and what is different for them.

    Args:
        match: names, with the wildcards of fnmatch; one pattern or several.
        options: hyperparameters of the rule that replace the common ones; those left out are common.
    """

    match: str | tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "match", (self.match,) if isinstance(self.match, str) else tuple(self.match))
        if not self.match:
            raise ConfigError("a group of parameters needs a pattern: match is empty")

    def __hash__(self) -> int:
        return hash(self.match)

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns."""
        return (self.match,) if isinstance(self.match, str) else self.match

    def fits(self, name: str) -> bool:
        """Whether a parameter belongs to it."""
        return any(fnmatchcase(name, pattern) for pattern in self.patterns)


@final
@dataclass(frozen=True)
class Groups(Optimizer):
    """One rule with several sets of hyperparameters: a parameter takes those of the first group that it matches.

    A schedule multiplies the learning rate of every group.

    Args:
        base: the rule, with the common hyperparameters.
        groups: the exceptions.

    Raises:
        ConfigError: a hyperparameter that the rule does not have, or an impossible value.

    Example:
        >>> from polymodel.optim import AdamW
        >>> rule = Groups(AdamW(1e-3), (Group("*.bias", {"weight_decay": 0.0}),))
        >>> [rule.rule_of(n).weight_decay for n in ("head.weight", "head.bias")]
        [0.009999999776482582, 0.0]
    """

    base: Optimizer
    groups: tuple[Group, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", tuple(self.groups))
        known = {f.name for f in fields(self.base)}  # type: ignore[arg-type]
        for i, group in enumerate(self.groups):
            wrong = [k for k in group.options if k not in known]
            if wrong:
                raise ConfigError(
                    f"groups.{i}.{wrong[0]}: optimizer {self.base.name!r} has no such hyperparameter; it has "
                    f"{', '.join(sorted(known))}"
                )
        if not self.base.lr > 0:
            raise ConfigError("groups: the common lr must be above 0, because a schedule is a multiple of it")
        object.__setattr__(self, "_rules", (self.base, *(replace(self.base, **g.options) for g in self.groups)))  # type: ignore[type-var]

    @property
    def rules(self) -> tuple[Optimizer, ...]:
        """The common rule, then that of each group."""
        found: tuple[Optimizer, ...] = self._rules  # type: ignore[attr-defined]
        return found

    @property
    def name(self) -> str:  # type: ignore[override]
        """That of the rule."""
        return self.base.name

    @property
    def lr(self) -> float:  # type: ignore[override]
        """The common one."""
        return self.base.lr

    @property
    def positional(self) -> bool:  # type: ignore[override]
        """As the rule."""
        return self.base.positional

    @property
    def slots(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(slot for rule in self.rules for slot in rule.slots))

    def index(self, name: str) -> int:
        """Which of `rules` updates a parameter."""
        return next((i for i, g in enumerate(self.groups, 1) if g.fits(name)), 0)

    def rule_of(self, name: str) -> Any:
        """The rule with the hyperparameters of one parameter."""
        return self.rules[self.index(name)]

    def slot_shapes(self, name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = self.rule_of(name).slot_shapes(name, shape)
        return found

    def start(self, name: str, value: np.ndarray) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = self.rule_of(name).start(name, value)
        return found

    def rule_for(self, name: str) -> Optimizer:
        return _Member(self.rule_of(name), f"{self.index(name)}.")

    def scalars(self, lr: float, step: int) -> dict[str, float]:
        factor = lr / self.base.lr
        return {
            f"{i}.{k}": v for i, rule in enumerate(self.rules) for k, v in rule.scalars(rule.lr * factor, step).items()
        }

    def update(
        self, b: Builder, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], s: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        raise ConfigError("which group a parameter is in depends on its name: use rule_for(name).update")

    def patterns(self) -> tuple[str, ...]:
        """Patterns that must match a parameter each."""
        return tuple(p for g in self.groups for p in g.patterns)


@final
@dataclass(frozen=True)
class _Member(Wrapped):
    """A rule that finds its scalars among those of all groups."""

    prefix: str

    def scalars(self, lr: float, step: int) -> dict[str, float]:
        return {f"{self.prefix}{k}": v for k, v in self.inner.scalars(lr, step).items()}

    def update(
        self, b: Builder, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], s: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        own = {k.removeprefix(self.prefix): v for k, v in s.items() if k.startswith(self.prefix)}
        return self.inner.update(b, p, g, slots, own)
