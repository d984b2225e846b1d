"""The update that stands behind a step over parts of a batch: it adds up gradients.

Each part of a batch is a step of the rule Gathering, which keeps a sum in the slot "grad_sum". Then the rule itself runs on the sums,
which are zero between steps, so that checkpoints need not know them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from polymodel.builder import Builder
from polymodel.optim.base import Optimizer
from polymodel.optim.wrapped import Wrapped
from polymodel.tensor import Tensor

if TYPE_CHECKING:
    from polymodel.options import Training

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

    def scalars(self, lr: float, step: int) -> dict[str, float]:
        return {SHARE: self.share}

    def update(
        self, b: Builder, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], s: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return p, {SUM: slots[SUM] + g * s[SHARE]}


def gathering(training: Training) -> Training:
    """The step over a part of a batch."""
    return replace(training, optimizer=Gathering(training.optimizer), clip=None, accumulate=None)
