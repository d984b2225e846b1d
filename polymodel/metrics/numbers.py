"""Metrics of numbers and of likelihoods."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from polymodel.builder import Builder
from polymodel.losses import Loss
from polymodel.metrics.base import Metric, StreamingMetric, as_numbers, check_labels, same_shape, stacked
from polymodel.tensor import Tensor


@final
@dataclass(frozen=True)
class MeanAbsoluteError(Metric):
    """Mean of |output - target| over all elements."""

    name = "mean_absolute_error"

    def build(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """Sub, Abs, mean."""
        return b.op("ReduceMean", b.op("Abs", output - target), keepdims=0)


@final
@dataclass(frozen=True)
class RMSE(StreamingMetric):
    """Root of the mean of (output - target)^2 over all elements of all batches."""

    name: ClassVar[str] = "rmse"

    def build(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """Sum of squares and number."""
        same_shape(self.name, output, target)
        difference = output - target
        return stacked(b, b.op("ReduceSumSquare", difference, keepdims=0), as_numbers(b, b.op("Size", output), output))

    def finish(self, total: np.ndarray) -> float:
        """The root."""
        return math.sqrt(total[0] / total[1]) if total[1] else math.nan


@final
@dataclass(frozen=True)
class R2(StreamingMetric):
    """1 - sum (target - output)^2 / sum (target - mean target)^2 for each output, averaged: sklearn.metrics.r2_score.

    Sums of batches are put together by the rule of Chan, Golub & LeVeque (1979), so that a mean far from 0 costs no digits.
    An output whose target never changes scores 1 if it is met exactly, else 0.
    """

    name: ClassVar[str] = "r2"

    def build(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """(4, outputs): number, mean, sum of squares around the mean, sum of squared errors."""
        same_shape(self.name, output, target)
        x, t = (b.op("Flatten", v, axis=1) if v.rank != 1 else b.op("Unsqueeze", v, [1]) for v in (output, target))
        mean = b.op("ReduceMean", t, [0], keepdims=1)
        count = b.op("ReduceSum", t * 0.0 + 1.0, [0], keepdims=0)
        around, missed = (b.op("ReduceSumSquare", t - v, [0], keepdims=0) for v in (mean, x))
        return stacked(b, count, b.op("Squeeze", mean, [0]), around, missed)

    def merge(self, total: np.ndarray, part: np.ndarray) -> np.ndarray:
        """Two batches together."""
        count = total[0] + part[0]
        step = part[1] - total[1]
        mean = total[1] + step * part[0] / count
        around = total[2] + part[2] + step**2 * total[0] * part[0] / count
        return np.stack([count, mean, around, total[3] + part[3]])

    def finish(self, total: np.ndarray) -> float:
        """The mean over outputs."""
        around, missed = total[2:]
        still = around == 0
        scores = 1.0 - missed / np.where(still, 1.0, around)
        return float(np.where(still, np.where(missed == 0, 1.0, 0.0), scores).mean())


@final
@dataclass(frozen=True)
class Perplexity(StreamingMetric):
    """exp of the mean cross entropy of logits (batch, classes, ...) and labels (batch, ...), over all labels of all batches.

    Args:
        ignore_index: label that does not count; None when all count.
    """

    name: ClassVar[str] = "perplexity"
    ignore_index: int | None = None

    def build(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """Sum of the terms and number of labels that count."""
        check_labels(self.name, output, target)
        total = b.op("SoftmaxCrossEntropyLoss", output, target, reduction="sum", ignore_index=self.ignore_index)
        if self.ignore_index is None:
            return stacked(b, total, as_numbers(b, b.op("Size", target), output))
        kept = as_numbers(b, b.op("Not", target == self.ignore_index), output)
        return stacked(b, total, b.op("ReduceSum", kept, keepdims=0))

    def finish(self, total: np.ndarray) -> float:
        """The exponential."""
        return math.exp(total[0] / total[1]) if total[1] else math.nan


@final
@dataclass(frozen=True)
class LossMetric(Metric):
    """A loss that is reported and not trained; its name is the loss's."""

    loss: Loss

    @property
    def name(self) -> str:
        """Name of the loss."""
        return self.loss.name

    def build(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """The loss."""
        return self.loss.build(b, output, target)
