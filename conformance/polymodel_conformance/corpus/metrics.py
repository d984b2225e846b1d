"""Every metric behind a linear layer, in one graph for each kind of target."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from polymodel import losses, metrics, nn
from polymodel.model import Model
from polymodel.spec import TensorSpec
from polymodel_conformance.corpus.entry import Entry

GROUPS: dict[str, tuple[losses.Loss, Sequence[metrics.Metric]]] = {
    "labels": (
        losses.CrossEntropy(),
        (
            metrics.Accuracy(), metrics.TopK(2), metrics.Precision(), metrics.ConfusionMatrix(), metrics.Perplexity(),
        ),
    ),
    "binary": (
        losses.BCEWithLogits(),
        (metrics.BinaryAccuracy(), metrics.Recall(), metrics.AUC(bins=8)),
    ),
    "numbers": (
        losses.MSE(),
        (metrics.MeanAbsoluteError(), metrics.RMSE(), metrics.R2(), metrics.LossMetric(losses.Huber())),
    ),
}
"""A loss, which says what the target looks like, and metrics. Precision, recall and F1 have one graph output."""


@lru_cache(maxsize=1)
def with_metrics() -> tuple[Entry, ...]:
    """The inference graphs; every metric is an output."""
    entries = []
    for name, (loss, chosen) in GROUPS.items():
        model = Model(nn.Linear(7, 5), {"x": TensorSpec(("batch", 7))}, ["y"], 0)

        def draw(seed: int, kind: str = name) -> dict[str, np.ndarray]:
            rng = np.random.default_rng([seed, 13])
            x = rng.standard_normal((9, 7)).astype(np.float32)
            if kind == "labels":
                return {"x": x, "target": rng.integers(0, 5, 9)}
            target = rng.integers(0, 2, (9, 5)) if kind == "binary" else 10 + rng.standard_normal((9, 5))
            return {"x": x, "target": target.astype(np.float32)}

        entries.append(Entry(f"metric/{name}", model.inference_graph(loss, chosen), draw))
    return tuple(entries)
