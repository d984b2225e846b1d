"""Further losses over classes in axis 1: focal, divergence of distributions, margins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from polymodel.builder import Builder
from polymodel.errors import ShapeError
from polymodel.losses.base import (
    Loss,
    Reduction,
    check_distribution,
    check_labels,
    check_reduction,
    class_count,
    labels_of,
    positive,
)
from polymodel.spec import TensorSpec, numpy_dtype
from polymodel.tensor import Tensor


@final
@dataclass(frozen=True)
class CategoricalFocal(Loss):
    """Focal loss over classes (Lin et al., ICCV 2017, equation 5, with softmax probabilities).

        loss_n = -a[t_n] (1 - p_n)^gamma log p_n,  p_n = softmax(x_n)[t_n]

    averaged over samples and places (keras.losses.CategoricalFocalCrossentropy on labels). The output is
    (batch, C, ...), the target int64 (batch, ...).

    Args:
        gamma: how much less well classified samples count, >= 0.
        alpha: one factor for each class; None for ones.
        reduction: "mean" or "sum".
    """

    name: ClassVar[str] = "categorical_focal"
    gamma: float = 2.0
    alpha: tuple[float, ...] | None = None
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        positive(self, "gamma", self.gamma, zero=True)
        if self.alpha is not None:
            object.__setattr__(self, "alpha", tuple(float(a) for a in self.alpha))
        check_reduction(self)

    def target(self, output: TensorSpec) -> TensorSpec:
        """int64 (batch, ...) for an output (batch, classes, ...)."""
        spec = labels_of(self, output)
        if self.alpha is not None and class_count(self, output) != len(self.alpha):
            raise ShapeError(f"categorical focal has {len(self.alpha)} factors for {output.shape[1]} classes")
        return spec

    def terms(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """Softmax cross entropy without reduction, times a power of 1 - exp(-loss)."""
        plain = b.op("SoftmaxCrossEntropyLoss", output, target, reduction="none")
        terms = plain
        if self.gamma:
            missed = 1.0 - b.op("Exp", -plain)
            terms = (missed * missed if self.gamma == 2 else missed ** float(self.gamma)) * plain
        if self.alpha is not None:
            terms = b.op("Gather", np.asarray(self.alpha, numpy_dtype(output.dtype)), target) * terms
        return terms

    def check(self, target: np.ndarray, output: TensorSpec) -> None:
        """Labels are in [0, classes)."""
        check_labels(target, output)


@final
@dataclass(frozen=True)
class KLDivergence(Loss):
    """Kullback-Leibler divergence of predicted from given distributions over the classes in axis 1.

        loss_n = sum_c q_n[c] (log q_n[c] - log p_n[c])

    averaged over samples and places ("batchmean" of torch.nn.KLDivLoss for an output (batch, C)); 0 log 0 is 0. The target
    q has the shape and dtype of the output.

    Args:
        log_probabilities: the output holds log p, as torch.nn.KLDivLoss wants it; if not, logits, p being their softmax.
        reduction: "mean" or "sum".
    """

    name: ClassVar[str] = "kl_divergence"
    log_probabilities: bool = False
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        check_reduction(self)

    def target(self, output: TensorSpec) -> TensorSpec:
        """As the output (batch, classes, ...)."""
        labels_of(self, output)
        return output

    def terms(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """LogSoftmax, logarithm of the target, sum over axis 1."""
        log_p = output if self.log_probabilities else b.op("LogSoftmax", output, axis=1)
        log_q = b.op("Log", b.op("Where", target > 0.0, target, b.constant(1.0, target.dtype)))
        return b.op("ReduceSum", target * (log_q - log_p), [1], keepdims=0)

    def check(self, target: np.ndarray, output: TensorSpec) -> None:
        """Targets are distributions."""
        check_distribution(target)


@final
@dataclass(frozen=True)
class MultiMargin(Loss):
    """Hinge loss over classes: sum over c != t of max(0, margin - x[t] + x[c])^p / C, as torch.nn.MultiMarginLoss.

    Crammer & Singer, 2001, with the sum over classes for their maximum (Weston & Watkins, 1999). The output is
    (batch, C), the target int64 (batch,).

    Args:
        margin: > 0.
        squared: p = 2 instead of 1.
        reduction: "mean" or "sum".
    """

    name: ClassVar[str] = "multi_margin"
    margin: float = 1.0
    squared: bool = False
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        positive(self, "margin", self.margin)
        check_reduction(self)

    def target(self, output: TensorSpec) -> TensorSpec:
        """int64 (batch,) for an output (batch, classes)."""
        class_count(self, output)
        return labels_of(self, output, rank=2)

    def terms(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """The label's own term is taken out by a mask."""
        classes = class_count(self, output.spec)
        ends = np.array([0.0, 1.0], numpy_dtype(output.dtype))
        hot = b.op("OneHot", target, b.constant(np.array(classes, np.int64)), b.constant(ends), axis=1)
        right = b.op("ReduceSum", output * hot, [1], keepdims=1)
        short = b.op("Relu", float(self.margin) - right + output)
        if self.squared:
            short = short * short
        return b.op("ReduceSum", short * (1.0 - hot), [1], keepdims=0) * (1.0 / classes)

    def check(self, target: np.ndarray, output: TensorSpec) -> None:
        """Labels are in [0, classes)."""
        check_labels(target, output)
