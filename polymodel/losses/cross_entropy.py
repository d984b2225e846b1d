"""Softmax cross entropy, of labels or of probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from polymodel.builder import Builder
from polymodel.errors import ConfigError, ShapeError
from polymodel.losses.base import (
    Loss,
    Reduction,
    check_distribution,
    check_labels,
    check_reduction,
    class_count,
    reduced,
    weighted,
)
from polymodel.spec import TensorSpec, numpy_dtype
from polymodel.tensor import Tensor


@final
@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Softmax cross entropy of logits and integer labels (ONNX SoftmaxCrossEntropyLoss) or probabilities.

        loss_n = -w[t_n] * log softmax(x_n)[t_n];  loss = sum loss_n / sum w[t_n] over labels t_n != ignore_index

    With label smoothing e over C classes it is (1 - e) times that plus e / C times the sum of
    -w[c] * log softmax(x_n)[c] over all classes c and samples that count, divided by the same sum of weights
    (torch.nn.CrossEntropyLoss; Szegedy et al., 2016, section 7).

    With probabilities q as targets, smoothed to (1 - e) q + e / C, loss_n = -sum_c w[c] q_n[c] log softmax(x_n)[c],
    and the mean is over the number of samples and places, whatever the weights (torch.nn.CrossEntropyLoss).

    The output is (batch, C, ...) in axis 1, the target int64 (batch, ...), or as the output for probabilities.

    Args:
        label_smoothing: e, in [0, 1).
        ignore_index: label that does not count; None when all count.
        weight: one factor for each class.
        probabilities: whether the target holds a distribution over the classes in axis 1 instead of labels.
        reduction: "mean" or "sum".

    Raises:
        ConfigError: a value outside its range, or ignore_index with probabilities.

    Example:
        >>> CrossEntropy().target(TensorSpec(("batch", 10)))
        TensorSpec(shape=('batch',), dtype='int64')
        >>> CrossEntropy(probabilities=True).target(TensorSpec(("batch", 10)))
        TensorSpec(shape=('batch', 10), dtype='float32')
    """

    name: ClassVar[str] = "cross_entropy"
    label_smoothing: float = 0.0
    ignore_index: int | None = None
    weight: tuple[float, ...] | None = None
    probabilities: bool = False
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(f"label_smoothing is in [0, 1), received {self.label_smoothing}")
        if self.weight is not None:
            object.__setattr__(self, "weight", tuple(float(w) for w in self.weight))
        if self.probabilities and self.ignore_index is not None:
            raise ConfigError("ignore_index is a label, and probabilities=True has no labels: give one of them")
        check_reduction(self)

    def target(self, output: TensorSpec) -> TensorSpec:
        """int64 (batch, ...) for an output (batch, classes, ...), or the output's own spec for probabilities."""
        if output.rank < 2:
            raise ShapeError(f"cross entropy needs an output (batch, classes, ...), received {output}")
        classes = output.shape[1]
        if self.weight is not None and isinstance(classes, int) and classes != len(self.weight):
            raise ShapeError(f"cross entropy has {len(self.weight)} class weights for {classes} classes")
        return output if self.probabilities else TensorSpec((output.shape[0], *output.shape[2:]), "int64")

    def terms(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """Weighted terms (batch, ...), zero where ignored; what the mean is divided by is not in them."""
        if self.probabilities:
            return self._soft_terms(b, output, target)
        hard, *log_p = self._operator(b, output, target, "none")
        if not self.label_smoothing:
            return hard
        soft = -b.op("ReduceSum", self._scaled(log_p[0]), [1], keepdims=0)
        counted = self._counted(b, target, soft)
        soft = soft if counted is None else soft * counted
        e = self.label_smoothing
        return hard * (1 - e) + soft * (e / class_count(self, output.spec))

    def build(self, b: Builder, output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """One node for plain labels; with label smoothing a few more behind its second output, log softmax."""
        if self.probabilities:
            return reduced(b, weighted(b, self._soft_terms(b, output, target), weight), self.reduction)
        if weight is not None:
            terms = weighted(b, self.terms(b, output, target), weight)
            total = b.op("ReduceSum", terms, keepdims=0)
            return total if self.reduction == "sum" else total / self._divisor(b, target, terms)
        hard, *log_p = self._operator(b, output, target, self.reduction)
        if not self.label_smoothing:
            return hard
        soft = -b.op("ReduceSum", self._scaled(log_p[0]), [1], keepdims=0)
        e = self.label_smoothing
        return hard * (1 - e) + self._reduced_soft(b, soft, target) * (e / class_count(self, output.spec))

    def amount(self, target: np.ndarray) -> float:
        """The sum of the weights of the labels that count."""
        if self.probabilities:
            return float(len(target))
        counted = np.ones(target.shape, bool) if self.ignore_index is None else target != self.ignore_index
        if self.weight is None:
            return float(counted.sum()) / max(1, int(np.prod(target.shape[1:], dtype=np.int64)))
        weights = np.asarray(self.weight, np.float64)[np.where(counted, target, 0)]
        return float((weights * counted).sum())

    def check(self, target: np.ndarray, output: TensorSpec) -> None:
        """Labels are in [0, classes) or ignore_index; probabilities sum to one."""
        if self.probabilities:
            check_distribution(target)
        else:
            check_labels(target, output, self.ignore_index)

    # -- inner ------------------------------------------------------------------------------------------------------

    def _operator(self, b: Builder, output: Tensor, target: Tensor, reduction: str) -> tuple[Tensor, ...]:
        return b.ops(
            "SoftmaxCrossEntropyLoss",
            output,
            target,
            None if self.weight is None else np.asarray(self.weight, numpy_dtype(output.dtype)),
            outputs=2 if self.label_smoothing else 1,
            reduction=reduction,
            ignore_index=self.ignore_index,
        )

    def _scaled(self, log_p: Tensor) -> Tensor:
        """Log probabilities times the weights of their classes."""
        if self.weight is None:
            return log_p
        shape: Sequence[int] = (-1, *[1] * (log_p.rank - 2))
        return log_p * np.asarray(self.weight, numpy_dtype(log_p.dtype)).reshape(shape)

    def _soft_terms(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        e = self.label_smoothing
        if e:
            target = target * (1 - e) + e / class_count(self, output.spec)
        log_p = self._scaled(b.op("LogSoftmax", output, axis=1))
        return -b.op("ReduceSum", target * log_p, [1], keepdims=0)

    def _counted(self, b: Builder, target: Tensor, like: Tensor) -> Tensor | None:
        """1 where a label counts and 0 where it is ignored; None when all count."""
        if self.ignore_index is None:
            return None
        kept = b.op("Not", target == self.ignore_index)
        return b.op("Cast", kept, to=like.value.dtype.value)  # type: ignore[union-attr]

    def _weights(self, b: Builder, target: Tensor, like: Tensor) -> Tensor:
        """What each label adds to the divisor of the mean."""
        counted = self._counted(b, target, like)
        if self.weight is None:
            return b.constant(np.ones((), numpy_dtype(like.dtype))) if counted is None else counted
        labels = target
        if self.ignore_index is not None:
            labels = b.op("Where", b.op("Not", target == self.ignore_index), target, b.constant(0, "int64"))
        picked = b.op("Gather", np.asarray(self.weight, numpy_dtype(like.dtype)), labels)
        return picked if counted is None else picked * counted

    def _divisor(self, b: Builder, target: Tensor, terms: Tensor) -> Tensor:
        if self.weight is None and self.ignore_index is None:
            return b.op("Cast", b.op("Size", terms), to=terms.value.dtype.value)  # type: ignore[union-attr]
        return b.op("ReduceSum", self._weights(b, target, terms), keepdims=0)

    def _reduced_soft(self, b: Builder, soft: Tensor, target: Tensor) -> Tensor:
        """Sum of what counts, over the sum of its weights for a mean."""
        counted = self._counted(b, target, soft)
        if counted is not None:
            soft = soft * counted
        elif self.weight is None:
            return reduced(b, soft, self.reduction)
        total = b.op("ReduceSum", soft, keepdims=0)
        return total if self.reduction == "sum" else total / self._divisor(b, target, soft)
