"""Updates whose gradient is put together from parts of a batch: what stands behind accumulation.

A step over k parts is k - 1 times Gathering and once Gathered. Both keep a sum in the slot "grad_sum", which is zero between
steps, so that checkpoints need not know it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from polymodel.builder import Builder
from polymodel.optim.base import Optimizer
from polymodel.optim.wrapped import Wrapped
from polymodel.tensor import Tensor

SUM = "grad_sum"
SHARE = "gather.share"


@final
@dataclass(frozen=True)
class Gathering(Wrapped):
    """Add a share of the gradient to the sum, and leave the parameter as it is."""

    share: float = 1.0
    positional: ClassVar[bool] = False

    @property
    def slots(self) -> tuple[str, ...]:
        return (SUM,)

    def slot_shapes(self, name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """The sum."""
        return {SUM: shape}

    def start(self, name: str, value: np.ndarray) -> dict[str, np.ndarray]:
        """A sum of nothing."""
        return {SUM: np.zeros_like(value)}

    def rule_for(self, name: str) -> Optimizer:
        return self

    def gathered(self, b: Builder, g: Tensor, slots: Mapping[str, Tensor], s: Mapping[str, Tensor]) -> Tensor:
        return g

    def scalars(self, lr: float, step: int) -> dict[str, float]:
        return {SHARE: self.share}

    def update(
        self, b: Builder, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], s: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return p, {SUM: slots[SUM] + g * s[SHARE]}


@final
@dataclass(frozen=True)
class Gathered(Wrapped):
    """Another rule on the sum of all shares, the last one included; the sum is zero afterwards."""

    share: float = 1.0

    @property
    def slots(self) -> tuple[str, ...]:
        return (*self.inner.slots, SUM)

    def slot_shapes(self, name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Those of the rule, and the sum."""
        return {**self.inner.slot_shapes(name, shape), SUM: shape}

    def start(self, name: str, value: np.ndarray) -> dict[str, np.ndarray]:
        """Those of the rule, and a sum of nothing."""
        return {**self.inner.start(name, value), SUM: np.zeros_like(value)}

    def gathered(self, b: Builder, g: Tensor, slots: Mapping[str, Tensor], s: Mapping[str, Tensor]) -> Tensor:
        """The sum with the last share."""
        return slots[SUM] + g * s[SHARE]

    def scalars(self, lr: float, step: int) -> dict[str, float]:
        return {**self.inner.scalars(lr, step), SHARE: self.share}

    def update(
        self, b: Builder, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], s: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        own = {k: v for k, v in slots.items() if k != SUM}
        p, new = self.inner.update(b, p, g, own, s)
        return p, {**new, SUM: slots[SUM] * 0.0}
