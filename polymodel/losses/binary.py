"""Losses of yes and no: one logit, or one probability, for each target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from polymodel.builder import Builder
from polymodel.errors import ConfigError
from polymodel.losses.base import Loss, Reduction, check_reduction, check_shares, positive, refuse, same_as_output
from polymodel.spec import TensorSpec, numpy_dtype
from polymodel.tensor import Tensor


@final
@dataclass(frozen=True)
class BCEWithLogits(Loss):
    """Binary cross entropy of logits, averaged over all elements.

        loss = (1 - z) * x + (1 + (p - 1) * z) * softplus(-x)

    for logit x, target z in [0, 1] and weight p of the positive ones: the stable form of
    torch.nn.BCEWithLogitsLoss. The target has the shape and dtype of the output.

    Args:
        pos_weight: p, for all outputs or one for each along the last axis.
        reduction: "mean" or "sum".
    """

    name: ClassVar[str] = "bce_with_logits"
    pos_weight: float | tuple[float, ...] | None = None
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        object.__setattr__(self, "pos_weight", _weights(self.pos_weight))
        check_reduction(self)

    def target(self, output: TensorSpec) -> TensorSpec:
        """As the output."""
        return output

    def terms(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """Elementwise operators."""
        tail = b.op("Softplus", -output)
        if self.pos_weight is not None:
            factor = np.asarray(self.pos_weight, numpy_dtype(output.dtype)) - 1
            tail = (target * factor + 1.0) * tail
        return (1.0 - target) * output + tail

    def check(self, target: np.ndarray, output: TensorSpec) -> None:
        """Targets are in [0, 1]."""
        check_shares(target)


@final
@dataclass(frozen=True)
class BCE(Loss):
    """Binary cross entropy of probabilities, averaged over all elements.

        loss = -w z log p - (1 - z) log(1 - p)   with p limited to [eps, 1 - eps]

    The limits are Keras's (keras.losses.BinaryCrossentropy, epsilon 1e-7); beyond them the derivative is zero. For
    logits use bce_with_logits, which needs no limits. The target has the shape and dtype of the output.

    Args:
        pos_weight: w, for all outputs or one for each along the last axis; None for 1.
        eps: distance of the limits from 0 and 1, in (0, 0.5).
        reduction: "mean" or "sum".
    """

    name: ClassVar[str] = "bce"
    pos_weight: float | tuple[float, ...] | None = None
    eps: float = 1e-7
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        object.__setattr__(self, "pos_weight", _weights(self.pos_weight))
        if not 0 < self.eps < 0.5:
            raise ConfigError(f"loss 'bce': eps is in (0, 0.5), received {self.eps!r}")
        check_reduction(self)

    def target(self, output: TensorSpec) -> TensorSpec:
        """As the output."""
        return same_as_output(self, output)

    def terms(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """Clip and two logarithms."""
        eps = float(self.eps)
        p = b.op("Clip", output, b.constant(eps, output.dtype), b.constant(1.0 - eps, output.dtype))
        yes = target * b.op("Log", p)
        if self.pos_weight is not None:
            yes = yes * np.asarray(self.pos_weight, numpy_dtype(output.dtype))
        return -(yes + (1.0 - target) * b.op("Log", 1.0 - p))

    def check(self, target: np.ndarray, output: TensorSpec) -> None:
        """Targets are in [0, 1]."""
        check_shares(target)


@final
@dataclass(frozen=True)
class Focal(Loss):
    """Sigmoid focal loss of logits (Lin et al., ICCV 2017, equation 5), as torchvision.ops.sigmoid_focal_loss.

        loss = a_t (1 - p_t)^gamma * bce_with_logits(x, z),  p_t = p z + (1 - p) (1 - z),  p = sigmoid(x),
        a_t = alpha z + (1 - alpha) (1 - z)

    averaged over all elements. The target has the shape and dtype of the output.

    Args:
        gamma: how much less well classified samples count, >= 0; 0 is cross entropy.
        alpha: weight of the positive ones, in [0, 1]; None for 1 everywhere.
        reduction: "mean" or "sum".

    Example:
        >>> Focal().alpha
        0.25
    """

    name: ClassVar[str] = "focal"
    gamma: float = 2.0
    alpha: float | None = 0.25
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        positive(self, "gamma", self.gamma, zero=True)
        if self.alpha is not None and not 0 <= self.alpha <= 1:
            raise ConfigError(f"loss 'focal': alpha is in [0, 1], received {self.alpha!r}")
        check_reduction(self)

    def target(self, output: TensorSpec) -> TensorSpec:
        """As the output."""
        return same_as_output(self, output)

    def terms(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """1 - p_t is sigmoid(x) (1 - z) + sigmoid(-x) z: nothing cancels."""
        other = 1.0 - target
        terms = other * output + b.op("Softplus", -output)
        if self.gamma:
            missed = b.op("Sigmoid", output) * other + b.op("Sigmoid", -output) * target
            terms = _power(missed, float(self.gamma)) * terms
        if self.alpha is not None:
            terms = (target * float(self.alpha) + other * (1.0 - float(self.alpha))) * terms
        return terms

    def check(self, target: np.ndarray, output: TensorSpec) -> None:
        """Targets are in [0, 1]."""
        check_shares(target)


@final
@dataclass(frozen=True)
class Hinge(Loss):
    """max(0, margin - y x), averaged over all elements, for targets y of -1 and 1 (Cortes & Vapnik, 1995; keras.losses.Hinge).

    The target has the shape and dtype of the output.

    Args:
        margin: from which on a prediction counts as right, > 0.
        squared: take the square (keras.losses.SquaredHinge).
        reduction: "mean" or "sum".
    """

    name: ClassVar[str] = "hinge"
    margin: float = 1.0
    squared: bool = False
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        positive(self, "margin", self.margin)
        check_reduction(self)

    def target(self, output: TensorSpec) -> TensorSpec:
        """As the output."""
        return same_as_output(self, output)

    def terms(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """Mul, Sub, Relu."""
        short = b.op("Relu", float(self.margin) - target * output)
        return short * short if self.squared else short

    def check(self, target: np.ndarray, output: TensorSpec) -> None:
        """Targets are -1 or 1."""
        refuse(target, np.abs(target) != 1, "neither -1 nor 1")


def _weights(value: object) -> object:
    return tuple(float(w) for w in value) if isinstance(value, list | tuple | np.ndarray) else value


def _power(x: Tensor, exponent: float) -> Tensor:
    return x if exponent == 1 else x * x if exponent == 2 else x**exponent
