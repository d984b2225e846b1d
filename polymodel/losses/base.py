"""What a loss is: one number for each sample or place of a batch, and how they become a scalar."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, TypeAlias

import numpy as np

from polymodel.builder import Builder
from polymodel.errors import ConfigError, DataError, ShapeError
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor

Reduction: TypeAlias = Literal["mean", "sum"]


class Loss(ABC):
    """A scalar function of an output of the model and a target.

    With sample weights w the terms l of sample n are multiplied with w_n before they are added, and what the sum is
    divided by stays as it is: weights of one change nothing (Keras: "sum_over_batch_size").

    Attributes:
        name: the word in configurations.
        reduction: "mean" or "sum" of the terms.
    """

    name: ClassVar[str]
    reduction: Reduction

    @abstractmethod
    def target(self, output: TensorSpec) -> TensorSpec:
        """What the target looks like for an output; ShapeError when the output does not fit the loss."""

    @abstractmethod
    def terms(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """One loss for each element that is averaged: (batch, ...), of the output's dtype."""

    def build(self, b: Builder, output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Add the loss to a graph.

        Args:
            b: builder of the graph.
            output: of the model.
            target: of the spec that `target` gives.
            weight: of each sample, (batch,); None for ones.

        Returns:
            A 0-dim tensor of the output's dtype.
        """
        return reduced(b, weighted(b, self.terms(b, output, target), weight), self.reduction)

    def amount(self, target: np.ndarray) -> float:
        """What the sum of a batch's terms is divided by, up to a factor that all batches share: its number of samples.

        Gradients of parts of a batch, weighted with their amounts, add up to the gradient of the batch.
        """
        return float(len(target))

    @abstractmethod
    def check(self, target: np.ndarray, output: TensorSpec) -> None:
        """Refuse targets whose values mean nothing; DataError names the first of them."""


def check_reduction(loss: Loss) -> None:
    """Refuse a reduction that gives no scalar.

    Raises:
        ConfigError: it is neither "mean" nor "sum".
    """
    given: str = loss.reduction
    if given not in ("mean", "sum"):
        way = ": what is trained is one number" if given == "none" else ""
        raise ConfigError(f"loss {loss.name!r}: reduction is 'mean' or 'sum', received {loss.reduction!r}{way}")


def weighted(b: Builder, terms: Tensor, weight: Tensor | None) -> Tensor:
    """Terms (batch, ...) times one weight for each sample."""
    if weight is None:
        return terms
    if terms.rank > 1:
        weight = b.op("Unsqueeze", weight, list(range(1, terms.rank)))
    return terms * weight


def reduced(b: Builder, terms: Tensor, reduction: Reduction) -> Tensor:
    """The mean or the sum of all terms."""
    return b.op("ReduceMean" if reduction == "mean" else "ReduceSum", terms, keepdims=0)


def same_as_output(loss: Loss, output: TensorSpec) -> TensorSpec:
    """The spec of a target of the output's shape."""
    if output.rank < 1:
        raise ShapeError(f"loss {loss.name!r} needs an output (batch, ...), received {output}")
    return output


def labels_of(loss: Loss, output: TensorSpec, rank: int | None = None) -> TensorSpec:
    """The spec int64 (batch, ...) of labels for an output (batch, classes, ...).

    Args:
        loss: for messages.
        output: spec of the output.
        rank: that the output must have; any from 2 when None.
    """
    if output.rank < 2 or rank not in (None, output.rank):
        words = "(batch, classes, ...)" if rank is None else "(batch, classes)"
        raise ShapeError(f"{loss.name.replace('_', ' ')} needs an output {words}, received {output}")
    return TensorSpec((output.shape[0], *output.shape[2:]), "int64")


def class_count(loss: Loss, output: TensorSpec) -> int:
    """Size of axis 1, which must be known."""
    classes = output.shape[1]
    if not isinstance(classes, int):
        raise ShapeError(f"loss {loss.name!r} needs a known number of classes, received {output}")
    return classes


def positive(loss: Loss, name: str, value: object, *, zero: bool = False) -> None:
    """Refuse what is no finite number above 0 (or from 0 on)."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
    if not number or not (value > 0 or (zero and value == 0)):  # type: ignore[operator]
        raise ConfigError(f"loss {loss.name!r}: {name} is a finite number {'of 0 or more' if zero else 'above 0'}, "
                          f"received {value!r}")


def refuse(target: np.ndarray, bad: np.ndarray, what: str, word: str = "target") -> None:
    """Name the first bad value.

    Args:
        target: the values.
        bad: where they mean nothing, of the same shape.
        what: what is wrong and what was expected.
        word: what the values are.
    """
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        value = target[place]
        shown = int(value) if target.dtype.kind in "iu" else value
        raise DataError(f"{word} {shown} of sample {place[0]} is {what}")


def check_labels(target: np.ndarray, output: TensorSpec, ignored: int | None = None) -> None:
    """Labels are in [0, classes) or the one that is ignored."""
    classes = output.shape[1]
    if target.dtype == np.int64 and target.size and isinstance(classes, int) and int(target.view(np.uint64).max()) < classes:
        return  # the labels of nearly every batch; a negative one is a large unsigned one
    bad = (target < 0) | (target >= classes) if isinstance(classes, int) else target < 0
    if ignored is not None:
        bad &= target != ignored
    note = "" if ignored is None else f" or {ignored} (ignored)"
    last = classes - 1 if isinstance(classes, int) else "classes - 1"
    refuse(
        target, bad, f"out of range: expected 0 to {last}{note}; {int(bad.sum())} of {bad.size} labels are", "label"
    )


def check_finite(target: np.ndarray) -> None:
    """Targets are finite."""
    refuse(target, ~np.isfinite(target), "not finite")


def check_shares(target: np.ndarray) -> None:
    """Targets are in [0, 1]."""
    refuse(target, ~((target >= 0) & (target <= 1)), "out of range: expected 0 to 1")


def check_distribution(target: np.ndarray) -> None:
    """Targets are in [0, 1] and sum to 1 along axis 1, up to rounding."""
    check_shares(target)
    sums = target.astype(np.float64).sum(1)
    bad = np.abs(sums - 1.0) > 1e-3
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            f"the target probabilities of sample {place[0]} sum to {sums[place]:.6g} over the classes, expected 1"
        )
