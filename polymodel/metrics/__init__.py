"""Metrics: numbers that say how good a model is, added to the graph like a loss and put together over batches."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from polymodel.errors import ConfigError
from polymodel.losses import LOSSES, Loss
from polymodel.losses import get as get_loss
from polymodel.metrics.accuracy import Accuracy, BinaryAccuracy, TopK
from polymodel.metrics.base import Metric, StreamingMetric
from polymodel.metrics.confusion import F1, ConfusionMatrix, Precision, Recall
from polymodel.metrics.curves import AUC
from polymodel.metrics.numbers import R2, RMSE, LossMetric, MeanAbsoluteError, Perplexity

__all__ = [
    "AUC", "F1", "METRICS", "R2", "RMSE", "Accuracy", "BinaryAccuracy", "ConfusionMatrix", "LossMetric",
    "MeanAbsoluteError", "Metric", "Perplexity", "Precision", "Recall", "StreamingMetric", "TopK", "get",
]

METRICS: dict[str, type[Metric]] = {
    "accuracy": Accuracy,
    "top_k": TopK,
    "binary_accuracy": BinaryAccuracy,
    "precision": Precision,
    "recall": Recall,
    "f1": F1,
    "auc": AUC,
    "confusion_matrix": ConfusionMatrix,
    "perplexity": Perplexity,
    "mean_absolute_error": MeanAbsoluteError,
    "rmse": RMSE,
    "r2": R2,
}


def get(metric: str | Mapping[str, Any] | Metric | Loss) -> Metric:
    """The metric of a name (of a metric or a loss), or the metric itself.

    Raises:
        ConfigError: the name or an argument is unknown.

    Example:
        >>> get("accuracy")
        Accuracy()
        >>> get({"name": "top_k", "k": 3}).name
        'top_3_accuracy'
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
        known = (*METRICS, *LOSSES)
        close = difflib.get_close_matches(str(name), known, n=1)
        hint = f" did you mean {close[0]!r}?" if close else ""
        raise ConfigError(f"unknown metric {name!r};{hint} expected one of {', '.join(known)}")
    try:
        return METRICS[name](**options)
    except TypeError as error:
        raise ConfigError(f"metric {name!r}: {error}") from None
