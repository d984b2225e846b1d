"""Losses of numbers: the target has the shape and dtype of the output, and the mean is over all elements."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from polymodel.builder import Builder
from polymodel.losses.base import Loss, Reduction, check_finite, check_reduction, positive
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor


class _OfNumbers(Loss, ABC):
    """Any finite numbers are targets."""

    def __post_init__(self) -> None:
        check_reduction(self)

    def target(self, output: TensorSpec) -> TensorSpec:
        """As the output."""
        return output

    def check(self, target: np.ndarray, output: TensorSpec) -> None:
        """Targets are finite."""
        check_finite(target)


@final
@dataclass(frozen=True)
class MSE(_OfNumbers):
    """Mean of (output - target)^2 over all elements.

    Args:
        reduction: "mean" or "sum".
    """

    name: ClassVar[str] = "mse"
    reduction: Reduction = "mean"

    def terms(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """Sub, Mul."""
        difference = output - target
        return difference * difference


@final
@dataclass(frozen=True)
class MAE(_OfNumbers):
    """Mean of |output - target| over all elements; the derivative at 0 is 0.

    Args:
        reduction: "mean" or "sum".
    """

    name: ClassVar[str] = "mae"
    reduction: Reduction = "mean"

    def terms(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """Sub, Abs."""
        return b.op("Abs", output - target)


@final
@dataclass(frozen=True)
class Huber(_OfNumbers):
    """d^2 / 2 for |d| <= delta, else delta (|d| - delta / 2), with d = output - target (Huber, 1964; torch.nn.HuberLoss).

    Args:
        delta: where the parabola becomes a line, > 0.
        reduction: "mean" or "sum".
    """

    name: ClassVar[str] = "huber"
    delta: float = 1.0
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        positive(self, "delta", self.delta)
        super().__post_init__()

    def terms(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """m (a - m / 2) with a = |d| and m = min(a, delta), which is both branches."""
        a, m = _limited(b, output - target, float(self.delta))
        return m * (a - m * 0.5)


@final
@dataclass(frozen=True)
class SmoothL1(_OfNumbers):
    """d^2 / (2 beta) for |d| < beta, else |d| - beta / 2 (Girshick, "Fast R-CNN", 2015; torch.nn.SmoothL1Loss): Huber / beta.

    Args:
        beta: where the parabola becomes a line, > 0.
        reduction: "mean" or "sum".
    """

    name: ClassVar[str] = "smooth_l1"
    beta: float = 1.0
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        positive(self, "beta", self.beta)
        super().__post_init__()

    def terms(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """m (a - m / 2) / beta with a = |d| and m = min(a, beta)."""
        a, m = _limited(b, output - target, float(self.beta))
        return m * (a - m * 0.5) * (1.0 / float(self.beta))


def _limited(b: Builder, difference: Tensor, limit: float) -> tuple[Tensor, Tensor]:
    a = b.op("Abs", difference)
    return a, b.op("Min", a, b.constant(limit, a.dtype))
