"""Metrics: scalars that say how good a model is. Each is a mean over the batch, added to the graph like a loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from polymodel.builder import Builder
from polymodel.errors import ConfigError, ShapeError
from polymodel.losses import LOSSES, Loss
from polymodel.losses import get as get_loss
from polymodel.tensor import Tensor


class Metric(ABC):
    """A scalar function of an output of the model and a target; nothing is differentiated through it."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Its name in histories and the name of its graph output."""

    @abstractmethod
    def build(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """Add the metric to a graph; a 0-dim floating-point tensor, the mean over the batch."""


@final
@dataclass(frozen=True)
class Accuracy(Metric):
    """Share of samples whose largest output is at the label: output (batch, classes, ...), target int (batch, ...).

    The first of equal outputs counts as the largest.
    """

    name = "accuracy"

    def build(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """ArgMax over axis 1, Equal, mean."""
        if output.rank != target.rank + 1:
            raise ShapeError(
                f"accuracy needs outputs (batch, classes, ...) and labels (batch, ...), received {output.spec} and "
                f"{target.spec}: use binary_accuracy for one logit for each target"
            )
        labels = b.op("ArgMax", output, axis=1, keepdims=0)
        return _share(b, labels == target, output)


@final
@dataclass(frozen=True)
class BinaryAccuracy(Metric):
    """Share of elements where logit > 0 and target > 1/2 agree; output and target have one shape."""

    name = "binary_accuracy"

    def build(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """Greater, Equal, mean."""
        return _share(b, (output > 0.0) == (target > 0.5), output)


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


METRICS: dict[str, type[Metric]] = {
    "accuracy": Accuracy,
    "binary_accuracy": BinaryAccuracy,
    "mean_absolute_error": MeanAbsoluteError,
}


def get(metric: str | Mapping[str, Any] | Metric | Loss) -> Metric:
    """The metric of a name (of a metric or a loss), or the metric itself.

    Raises:
        ConfigError: the name or an argument is unknown.

    Example:
        >>> get("accuracy")
        Accuracy()
    """
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, Loss):
        return LossMetric(metric)
    options = {"name": metric} if isinstance(metric, str) else dict(metric)
    name = options.pop("name", None)
    if name in LOSSES:
        return LossMetric(get_loss({"name": name, **options}))
    if name not in METRICS:
        raise ConfigError(f"unknown metric {name!r}; expected one of {', '.join((*METRICS, *LOSSES))}")
    try:
        return METRICS[name](**options)
    except TypeError as error:
        raise ConfigError(f"metric {name!r}: {error}") from None


def _share(b: Builder, hits: Tensor, output: Tensor) -> Tensor:
    numbers = b.op("Cast", hits, to=output.value.dtype.value)  # type: ignore[union-attr]
    return b.op("ReduceMean", numbers, keepdims=0)
