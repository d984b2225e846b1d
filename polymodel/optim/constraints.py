"""What a parameter must be after every step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import ClassVar, final

import numpy as np

from polymodel.builder import Builder
from polymodel.errors import ConfigError
from polymodel.optim.base import Optimizer, hyper
from polymodel.optim.wrapped import Wrapped
from polymodel.tensor import Tensor


class Constraint(ABC):
    """A projection of a parameter.

    Attributes:
        name: the word in configurations.
        match: names of parameters, with the wildcards of fnmatch.
    """

    name: ClassVar[str]
    match: str

    @abstractmethod
    def project(self, b: Builder, p: Tensor) -> Tensor:
        """The nearest allowed value."""


@final
@dataclass(frozen=True)
class MaxNorm(Constraint):
    """The weights of each output have an L2 norm of at most max_norm (Srivastava et al., 2014, section 5.1).

    The norm runs over all axes but the first of a weight (out, in, *kernel): keras.constraints.MaxNorm(axis=0) for a Dense
    layer, without its epsilon. A parameter of one axis is one vector.
    """

    name: ClassVar[str] = "max_norm"
    match: str
    max_norm: float = 2.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_norm", hyper("max_norm", self.max_norm))

    def project(self, b: Builder, p: Tensor) -> Tensor:
        """p times min(1, max_norm / norm)."""
        norm = b.op("Max", _norms(b, p), b.constant(self.max_norm, p.dtype))
        return p * (self.max_norm / norm)


@final
@dataclass(frozen=True)
class NonNegative(Constraint):
    """max(p, 0): keras.constraints.NonNeg."""

    name: ClassVar[str] = "non_negative"
    match: str

    def project(self, b: Builder, p: Tensor) -> Tensor:
        """Relu."""
        return b.op("Relu", p)


@final
@dataclass(frozen=True)
class UnitNorm(Constraint):
    """The weights of each output have the L2 norm 1: keras.constraints.UnitNorm; axes as for MaxNorm. Zeros stay zeros."""

    name: ClassVar[str] = "unit_norm"
    match: str

    def project(self, b: Builder, p: Tensor) -> Tensor:
        """p / norm."""
        return p / b.op("Max", _norms(b, p), b.constant(float(np.finfo(p.dtype).tiny), p.dtype))


CONSTRAINTS: dict[str, type[Constraint]] = {c.name: c for c in (MaxNorm, NonNegative, UnitNorm)}


@final
@dataclass(frozen=True)
class Constrained(Wrapped):
    """Another rule, with parameters projected after its step.

    Args:
        inner: the rule.
        constraints: what is done to which parameters, one after the other.

    Example:
        >>> from polymodel.optim import SGD
        >>> rule = Constrained(SGD(0.1), (NonNegative("gate*"),))
        >>> rule.rule_for("head.weight") == SGD(0.1)
        True
    """

    constraints: tuple[Constraint, ...]
    positional: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "constraints", tuple(self.constraints))
        if not self.constraints:
            raise ConfigError("constraints: expected one or more, received none")

    def rule_for(self, name: str) -> Optimizer:
        rule = self.inner.rule_for(name)
        found = tuple(c for c in self.constraints if fnmatchcase(name, c.match))
        return replace(self, inner=rule, constraints=found) if found else rule

    def update(
        self, b: Builder, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], s: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        p, new = self.inner.update(b, p, g, slots, s)
        for constraint in self.constraints:
            p = constraint.project(b, p)
        return p, new

    def patterns(self) -> tuple[str, ...]:
        """Patterns that must match a parameter each."""
        return tuple(c.match for c in self.constraints)


def _norms(b: Builder, p: Tensor) -> Tensor:
    axes = list(range(1, p.rank)) if p.rank > 1 else list(range(p.rank))
    return b.op("ReduceL2", p, axes, keepdims=1)
