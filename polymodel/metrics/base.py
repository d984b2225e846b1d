"""What a metric is: a graph's output for each batch, and what the outputs of many batches say together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from polymodel.builder import Builder
from polymodel.errors import ShapeError
from polymodel.tensor import Tensor


class Metric(ABC):
    """A function of an output of the model and a target; nothing is differentiated through it.

    What `build` adds is the mean over the batch; means of batches, weighted with their samples, are the mean over all.
    A metric that is no such mean is a StreamingMetric.

    Attributes:
        scalar: whether it is one number, so that a history has a column of it.
    """

    scalar: ClassVar[bool] = True

    @property
    @abstractmethod
    def name(self) -> str:
        """Its name in histories and the name of its graph output."""

    @abstractmethod
    def build(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """Add the metric to a graph; a 0-dim floating-point tensor, the mean over the batch."""


class StreamingMetric(Metric):
    """A metric whose batches are put together on the host, in float64.

    `build` adds a tensor of a shape that no batch changes: counts, sums.
    """

    def merge(self, total: np.ndarray, part: np.ndarray) -> np.ndarray:
        """What two batches hold together; both are float64 and of one shape. The sum unless a metric says otherwise."""
        both: np.ndarray = total + part
        return both

    @abstractmethod
    def finish(self, total: np.ndarray) -> Any:
        """The metric of everything put together: a float, or an array for a metric that is no scalar."""


def share(b: Builder, hits: Tensor, output: Tensor) -> Tensor:
    """The share of what is true."""
    return b.op("ReduceMean", as_numbers(b, hits, output), keepdims=0)


def as_numbers(b: Builder, values: Tensor, like: Tensor) -> Tensor:
    """Values in another tensor's element type."""
    return b.op("Cast", values, to=like.value.dtype.value)  # type: ignore[union-attr]


def stacked(b: Builder, *rows: Tensor) -> Tensor:
    """Tensors of one shape along a new first axis."""
    return b.op("Concat", *(b.op("Unsqueeze", row, [0]) for row in rows), axis=0)


def check_labels(word: str, output: Tensor, target: Tensor) -> None:
    """Refuse outputs that are not (batch, classes, ...) for labels (batch, ...)."""
    if output.rank != target.rank + 1:
        raise ShapeError(
            f"{word} needs outputs (batch, classes, ...) and labels (batch, ...), received {output.spec} and "
            f"{target.spec}: use binary_accuracy for one logit for each target"
        )


def classes_of(word: str, output: Tensor) -> int:
    """Size of axis 1, which must be known."""
    classes = output.shape[1]
    if not isinstance(classes, int):
        raise ShapeError(f"{word} needs a known number of classes, received {output.spec}")
    return classes


def same_shape(word: str, output: Tensor, target: Tensor) -> None:
    """Refuse targets of another rank than the output."""
    if output.rank != target.rank:
        raise ShapeError(f"{word} needs a target of the output's shape, received {output.spec} and {target.spec}")
