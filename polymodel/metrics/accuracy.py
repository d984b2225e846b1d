"""Shares of what is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from polymodel.builder import Builder
from polymodel.errors import ConfigError, ShapeError
from polymodel.metrics.base import Metric, check_labels, share
from polymodel.tensor import Tensor


@final
@dataclass(frozen=True)
class Accuracy(Metric):
    """Share of samples whose largest output is at the label: output (batch, classes, ...), target int (batch, ...).

    The first of equal outputs counts as the largest.
    """

    name = "accuracy"

    def build(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """ArgMax over axis 1, Equal, mean."""
        check_labels(self.name, output, target)
        labels = b.op("ArgMax", output, axis=1, keepdims=0)
        return share(b, labels == target, output)


@final
@dataclass(frozen=True)
class TopK(Metric):
    """Share of samples whose label is among the k largest outputs: output (batch, classes, ...), target int (batch, ...).

    Its name is "top_K_accuracy".

    Args:
        k: how many, >= 1.

    Example:
        >>> TopK(5).name
        'top_5_accuracy'
    """

    k: int = 5

    def __post_init__(self) -> None:
        if isinstance(self.k, bool) or not isinstance(self.k, int) or self.k < 1:
            raise ConfigError(f"metric 'top_k': k is an integer of 1 or more, received {self.k!r}")

    @property
    def name(self) -> str:
        """With the number."""
        return f"top_{self.k}_accuracy"

    def build(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """TopK over axis 1, Equal, any, mean."""
        check_labels(self.name, output, target)
        classes = output.shape[1]
        if isinstance(classes, int) and classes < self.k:
            raise ShapeError(f"{self.name} needs {self.k} classes or more, received {output.spec}")
        _, places = b.ops("TopK", output, [self.k], outputs=2, axis=1)
        hits = places == b.op("Unsqueeze", target, [1])
        kind = output.value.dtype.value  # type: ignore[union-attr]
        counts = b.op("ReduceSum", b.op("Cast", hits, to=kind), [1], keepdims=0)  # a label is found once at most
        return b.op("ReduceMean", counts, keepdims=0)


@final
@dataclass(frozen=True)
class BinaryAccuracy(Metric):
    """Share of elements where output > threshold and target > 1/2 agree; output and target have one shape.

    Args:
        threshold: 0 for logits, 0.5 for probabilities.
    """

    name = "binary_accuracy"
    threshold: float = 0.0

    def build(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """Greater, Equal, mean."""
        return share(b, (output > float(self.threshold)) == (target > 0.5), output)
