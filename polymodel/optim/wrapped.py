"""Rules around another rule."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass, replace

import numpy as np

from polymodel.optim.base import Optimizer


@dataclass(frozen=True)
class Wrapped(Optimizer, ABC):
    """A rule around another one: what it does not define itself is as the inner rule has it.

    Attributes:
        inner: the other rule.
    """

    inner: Optimizer

    @property
    def name(self) -> str:  # type: ignore[override]
        """That of the inner rule."""
        return self.inner.name

    @property
    def lr(self) -> float:  # type: ignore[override]
        """That of the inner rule."""
        return self.inner.lr

    @property
    def positional(self) -> bool:  # type: ignore[override]
        """As the inner rule."""
        return self.inner.positional

    @property
    def slots(self) -> tuple[str, ...]:
        return self.inner.slots

    def slot_shapes(self, name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        return self.inner.slot_shapes(name, shape)

    def start(self, name: str, value: np.ndarray) -> dict[str, np.ndarray]:
        return self.inner.start(name, value)

    def rule_for(self, name: str) -> Optimizer:
        return replace(self, inner=self.inner.rule_for(name))

    def scalars(self, lr: float, step: int) -> dict[str, float]:
        return self.inner.scalars(lr, step)
