"""Losses: what training makes small. Each adds one scalar to a graph, in the standard's own operators."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from polymodel.builder import Builder
from polymodel.errors import ConfigError, DataError, ShapeError
from polymodel.spec import TensorSpec, numpy_dtype
from polymodel.tensor import Tensor


class Loss(ABC):
    """A scalar function of an output of the model and a target.

    Attributes:
        name: the word in configurations.
    """

    name: ClassVar[str]

    @abstractmethod
    def target(self, output: TensorSpec) -> TensorSpec:
        """What the target looks like for an output; ShapeError when the output does not fit the loss."""

    @abstractmethod
    def build(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """Add the loss to a graph; a 0-dim tensor of the output's dtype."""

    @abstractmethod
    def check(self, target: np.ndarray, output: TensorSpec) -> None:
        """Refuse targets whose values mean nothing; DataError names the first of them."""


@final
@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Softmax cross entropy of logits and integer labels, averaged (ONNX SoftmaxCrossEntropyLoss).

        loss_n = -w[t_n] * log softmax(x_n)[t_n];  loss = sum loss_n / sum w[t_n] over labels t_n != ignore_index

    With label smoothing e over C classes it is (1 - e) times that plus e / C times the sum of
    -w[c] * log softmax(x_n)[c] over all classes c and samples that count, divided by the same sum of weights
    (torch.nn.CrossEntropyLoss; Szegedy et al., 2016, section 7).

    The output is (batch, C, ...) in axis 1, the target int64 (batch, ...).

    Args:
        label_smoothing: e, in [0, 1).
        ignore_index: label that does not count; None when all count.
        weight: one factor for each class.

    Example:
        >>> CrossEntropy().target(TensorSpec(("batch", 10)))
        TensorSpec(shape=('batch',), dtype='int64')
    """

    name: ClassVar[str] = "cross_entropy"
    label_smoothing: float = 0.0
    ignore_index: int | None = None
    weight: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(f"label_smoothing is in [0, 1), received {self.label_smoothing}")
        if self.weight is not None:
            object.__setattr__(self, "weight", tuple(float(w) for w in self.weight))

    def target(self, output: TensorSpec) -> TensorSpec:
        """int64 (batch, ...) for an output (batch, classes, ...)."""
        if output.rank < 2:
            raise ShapeError(f"cross entropy needs an output (batch, classes, ...), received {output}")
        classes = output.shape[1]
        if self.weight is not None and isinstance(classes, int) and classes != len(self.weight):
            raise ShapeError(f"cross entropy has {len(self.weight)} class weights for {classes} classes")
        return TensorSpec((output.shape[0], *output.shape[2:]), "int64")

    def build(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """One node; with label smoothing a few more behind its second output, log softmax."""
        weight = None if self.weight is None else np.asarray(self.weight, numpy_dtype(output.dtype))
        hard, *log_p = b.ops(
            "SoftmaxCrossEntropyLoss",
            output,
            target,
            weight,
            outputs=2 if self.label_smoothing else 1,
            reduction="mean",
            ignore_index=self.ignore_index,
        )
        if not self.label_smoothing:
            return hard
        classes = output.shape[1]
        if not isinstance(classes, int):
            raise ShapeError(f"label smoothing needs a known number of classes, received {output.spec}")
        weighted = log_p[0] if weight is None else log_p[0] * _columns(weight, output.rank)
        soft = -b.op("ReduceSum", weighted, [1], keepdims=0)
        e = self.label_smoothing
        return hard * (1 - e) + self._mean(b, soft, target, weight) * (e / classes)

    def _mean(self, b: Builder, soft: Tensor, target: Tensor, weight: np.ndarray | None) -> Tensor:
        """Sum of what counts over the sum of its weights."""
        if weight is None and self.ignore_index is None:
            return b.op("ReduceMean", soft, keepdims=0)
        factor = b.constant(np.ones((), numpy_dtype(soft.dtype)))
        labels = target
        if self.ignore_index is not None:
            counted = b.op("Not", target == self.ignore_index)
            factor = b.op("Cast", counted, to=soft.value.dtype.value)  # type: ignore[union-attr]
            labels = b.op("Where", counted, target, b.constant(0, "int64"))
        weights = factor if weight is None else b.op("Gather", weight, labels) * factor
        return b.op("ReduceSum", soft * factor, keepdims=0) / b.op("ReduceSum", weights, keepdims=0)

    def check(self, target: np.ndarray, output: TensorSpec) -> None:
        """Labels are in [0, classes) or ignore_index."""
        classes = output.shape[1]
        bad = (target < 0) | (target >= classes) if isinstance(classes, int) else target < 0
        if self.ignore_index is not None:
            bad &= target != self.ignore_index
        if bad.any():
            place = tuple(int(i) for i in np.argwhere(bad)[0])
            ignored = "" if self.ignore_index is None else f" or {self.ignore_index} (ignored)"
            last = classes - 1 if isinstance(classes, int) else "classes - 1"
            raise DataError(
                f"label {int(target[place])} of sample {place[0]} is out of range: expected 0 to {last}{ignored}; "
                f"{int(bad.sum())} of {bad.size} labels are"
            )


@final
@dataclass(frozen=True)
class BCEWithLogits(Loss):
    """Binary cross entropy of logits, averaged over all elements.

        loss = (1 - z) * x + (1 + (p - 1) * z) * softplus(-x)

    for logit x, target z in [0, 1] and weight p of the positive ones: the stable form of
    torch.nn.BCEWithLogitsLoss. The target has the shape and dtype of the output.

    Args:
        pos_weight: p, for all outputs or one for each along the last axis.
    """

    name: ClassVar[str] = "bce_with_logits"
    pos_weight: float | tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.pos_weight, list | np.ndarray):
            object.__setattr__(self, "pos_weight", tuple(float(w) for w in self.pos_weight))

    def target(self, output: TensorSpec) -> TensorSpec:
        """As the output."""
        return output

    def build(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """Elementwise operators and one mean."""
        tail = b.op("Softplus", -output)
        if self.pos_weight is not None:
            factor = np.asarray(self.pos_weight, numpy_dtype(output.dtype)) - 1
            tail = (target * factor + 1.0) * tail
        return b.op("ReduceMean", (1.0 - target) * output + tail, keepdims=0)

    def check(self, target: np.ndarray, output: TensorSpec) -> None:
        """Targets are in [0, 1]."""
        bad = ~((target >= 0) & (target <= 1))
        if bad.any():
            place = tuple(int(i) for i in np.argwhere(bad)[0])
            raise DataError(f"target {target[place]} of sample {place[0]} is out of range: expected 0 to 1")


@final
@dataclass(frozen=True)
class MSE(Loss):
    """Mean of (output - target)^2 over all elements. The target has the shape and dtype of the output."""

    name: ClassVar[str] = "mse"

    def target(self, output: TensorSpec) -> TensorSpec:
        """As the output."""
        return output

    def build(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """Sub, Mul, ReduceMean."""
        difference = output - target
        return b.op("ReduceMean", difference * difference, keepdims=0)

    def check(self, target: np.ndarray, output: TensorSpec) -> None:
        """Targets are finite."""
        bad = ~np.isfinite(target)
        if bad.any():
            place = tuple(int(i) for i in np.argwhere(bad)[0])
            raise DataError(f"target {target[place]} of sample {place[0]} is not finite")


LOSSES: dict[str, type[Loss]] = {c.name: c for c in (CrossEntropy, BCEWithLogits, MSE)}


def get(loss: str | Mapping[str, Any] | Loss) -> Loss:
    """The loss of a name, of a name with arguments, or the loss itself.

    Raises:
        ConfigError: the name or an argument is unknown.

    Example:
        >>> get({"name": "cross_entropy", "label_smoothing": 0.1})
        CrossEntropy(label_smoothing=0.1, ignore_index=None, weight=None)
    """
    if isinstance(loss, Loss):
        return loss
    options = {"name": loss} if isinstance(loss, str) else dict(loss)
    name = options.pop("name", None)
    if name not in LOSSES:
        raise ConfigError(f"unknown loss {name!r}; expected one of {', '.join(LOSSES)}")
    try:
        return LOSSES[name](**options)
    except TypeError as error:
        raise ConfigError(f"loss {name!r}: {error}") from None


def _columns(weight: np.ndarray, rank: int) -> np.ndarray:
    """Class weights along axis 1."""
    shape: Sequence[int] = (-1, *[1] * (rank - 2))
    return weight.reshape(shape)
