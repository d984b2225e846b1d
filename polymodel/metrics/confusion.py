"""What was taken for what: counts by class, and the scores made of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, final

import numpy as np

from polymodel.builder import Builder
from polymodel.errors import ConfigError, ShapeError
from polymodel.metrics.base import StreamingMetric, as_numbers, check_labels, classes_of, stacked
from polymodel.spec import numpy_dtype
from polymodel.tensor import Tensor

Average: TypeAlias = Literal["macro", "micro", "weighted"]


class _Score(StreamingMetric, ABC):
    """A ratio of counts by class.

    A target of the output's shape is a yes or no for each element, and there is one class, "yes": output > threshold and
    target > 1/2. Labels (batch, ...) for an output (batch, classes, ...) are compared with the largest output, and the
    scores of the classes are averaged. A class without any prediction (or without any sample) has the score 0, one with
    neither is left out, as in scikit-learn with zero_division=0.
    """

    average: Average
    threshold: float
    name: ClassVar[str]

    def __post_init__(self) -> None:
        if self.average not in ("macro", "micro", "weighted"):
            raise ConfigError(
                f"metric {self.name!r}: average is 'macro', 'micro' or 'weighted', received {self.average!r}"
            )

    def build(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """Counts (3, classes): right, predicted, actual."""
        if output.rank == target.rank:
            said = as_numbers(b, b.op("Reshape", output > float(self.threshold), [-1, 1]), output)
            true = as_numbers(b, b.op("Reshape", target > 0.5, [-1, 1]), output)
        else:
            said, true = _hot(b, self.name, output, target)
        counts = (b.op("ReduceSum", x, [0], keepdims=0) for x in (said * true, said, true))
        return stacked(b, *counts)

    def finish(self, total: np.ndarray) -> float:
        """The averaged score."""
        if self.average == "micro":
            total = total.sum(1, keepdims=True)
        right, said, true = total[:, (total[1] + total[2]) > 0]
        if not right.size:
            return 0.0
        above, below = self._ratio(right, said, true)
        scores = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
        if self.average == "weighted":
            return float((scores * true).sum() / true.sum()) if true.sum() else 0.0
        return float(scores.mean())

    @abstractmethod
    def _ratio(self, right: np.ndarray, said: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numerator and denominator for each class."""


@final
@dataclass(frozen=True)
class Precision(_Score):
    """Right ones among those predicted, as sklearn.metrics.precision_score.

    Args:
        average: over classes: "macro" (each counts the same), "weighted" (by its samples) or "micro" (all pooled).
        threshold: for one output for each target: 0 for logits, 0.5 for probabilities.
    """

    name: ClassVar[str] = "precision"
    average: Average = "macro"
    threshold: float = 0.0

    def _ratio(self, right: np.ndarray, said: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return right, said


@final
@dataclass(frozen=True)
class Recall(_Score):
    """Right ones among those that are there, as sklearn.metrics.recall_score; arguments as for Precision."""

    name: ClassVar[str] = "recall"
    average: Average = "macro"
    threshold: float = 0.0

    def _ratio(self, right: np.ndarray, said: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return right, true


@final
@dataclass(frozen=True)
class F1(_Score):
    """Harmonic mean of precision and recall of each class, as sklearn.metrics.f1_score; arguments as for Precision."""

    name: ClassVar[str] = "f1"
    average: Average = "macro"
    threshold: float = 0.0

    def _ratio(self, right: np.ndarray, said: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return 2.0 * right, said + true


@final
@dataclass(frozen=True)
class ConfusionMatrix(StreamingMetric):
    """Counts (classes, classes): how often the class of the row was taken for the class of the column.

    For outputs (batch, classes, ...) and labels (batch, ...), as sklearn.metrics.confusion_matrix. It is an array, so
    `evaluate` returns it and histories have no column of it.
    """

    name: ClassVar[str] = "confusion_matrix"
    scalar: ClassVar[bool] = False

    def build(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """A product of two one-hot matrices."""
        said, true = _hot(b, self.name, output, target)
        return b.op("MatMul", b.op("Transpose", true, perm=[1, 0]), said)

    def finish(self, total: np.ndarray) -> np.ndarray:
        """int64 counts."""
        counts: np.ndarray = np.rint(total).astype(np.int64)
        return counts


def _hot(b: Builder, word: str, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Predicted and actual classes as rows (places, classes) of zeros and a one."""
    check_labels(word, output, target)
    if target.dtype not in ("int64", "int32"):
        raise ShapeError(f"{word} needs integer labels, received {target.spec}")
    classes = np.array(classes_of(word, output), np.int64)
    ends = np.array([0.0, 1.0], numpy_dtype(output.dtype))
    labels = (b.op("ArgMax", output, axis=1, keepdims=0), target)
    said, true = (b.op("OneHot", b.op("Reshape", x, [-1]), classes, ends, axis=1) for x in labels)
    return said, true
