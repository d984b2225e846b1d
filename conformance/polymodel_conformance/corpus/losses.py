"""Every loss under a small model, with targets that mean something to it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from polymodel import losses, nn
from polymodel.model import Model
from polymodel.spec import TensorSpec
from polymodel_conformance.corpus.entry import Entry

Rng: TypeAlias = np.random.Generator
Target: TypeAlias = Callable[[Rng], np.ndarray]

_WEIGHT = (0.5, 1.0, 2.0, 0.25, 1.5)


def _labels(rng: Rng) -> np.ndarray:
    return rng.integers(0, 5, 6)


def _numbers(rng: Rng) -> np.ndarray:
    return rng.standard_normal((6, 5)).astype(np.float32)


def _yes(rng: Rng) -> np.ndarray:
    return rng.integers(0, 2, (6, 5)).astype(np.float32)


def _signs(rng: Rng) -> np.ndarray:
    return 2.0 * _yes(rng) - np.float32(1.0)


def _shares(rng: Rng) -> np.ndarray:
    return rng.dirichlet(np.ones(5), 6).astype(np.float32)


def _pairs(rng: Rng) -> np.ndarray:
    """Three labels twice, so that every anchor has a triplet."""
    return rng.permutation(np.array([0, 1, 2, 0, 1, 2]))


def _sequences(rng: Rng) -> np.ndarray:
    """Up to three labels of 1 to 4 and padding."""
    found = np.full((6, 3), -1)
    for row in found:
        size = rng.integers(0, 4)
        row[:size] = rng.integers(1, 5, size)
    return found


LOSSES: dict[str, tuple[losses.Loss, Target]] = {
    "cross_entropy": (losses.CrossEntropy(), _labels),
    "cross_entropy_smoothed": (losses.CrossEntropy(label_smoothing=0.1), _labels),
    "cross_entropy_ignoring": (losses.CrossEntropy(ignore_index=2), _labels),
    "cross_entropy_weighted": (losses.CrossEntropy(weight=_WEIGHT, label_smoothing=0.05), _labels),
    "cross_entropy_sum": (losses.CrossEntropy(weight=_WEIGHT, ignore_index=1, reduction="sum"), _labels),
    "cross_entropy_probabilities": (losses.CrossEntropy(0.1, weight=_WEIGHT, probabilities=True), _shares),
    "bce_with_logits": (losses.BCEWithLogits(), _yes),
    "bce": (losses.BCE(pos_weight=2.0), _yes),
    "focal": (losses.Focal(), _yes),
    "categorical_focal": (losses.CategoricalFocal(alpha=_WEIGHT), _labels),
    "kl_divergence": (losses.KLDivergence(), _shares),
    "mse": (losses.MSE(), _numbers),
    "mae": (losses.MAE(), _numbers),
    "huber": (losses.Huber(0.75), _numbers),
    "smooth_l1": (losses.SmoothL1(0.5), _numbers),
    "hinge": (losses.Hinge(), _signs),
    "hinge_squared": (losses.Hinge(squared=True), _signs),
    "multi_margin": (losses.MultiMargin(), _labels),
    "cosine": (losses.Cosine(), _numbers),
    "triplet_hard": (losses.Triplet(5.0), _pairs),
    "triplet_all": (losses.Triplet(5.0, "all"), _pairs),
    "ctc": (losses.CTC(3), _sequences),
}
"""A loss and what draws a target; the margins of triplets are so large that no term stands on its kink."""


def _model(name: str) -> tuple[Model, tuple[int, ...]]:
    """A linear layer, in steps for sequences and into (0, 1) for probabilities, and the shape of its input."""
    if name == "ctc":
        return Model(nn.Linear(7, 5), {"x": TensorSpec(("batch", 8, 7))}, ["y"], 0), (6, 8, 7)
    module: nn.Module[Any] = nn.Sequential(nn.Linear(7, 5), nn.Sigmoid()) if name == "bce" else nn.Linear(7, 5)
    return Model(module, {"x": TensorSpec(("batch", 7))}, ["y"], 0), (6, 7)


@lru_cache(maxsize=1)
def with_losses() -> tuple[Entry, ...]:
    """A small model under every loss; the graph has the output "loss"."""
    entries = []
    for name, (loss, target) in LOSSES.items():
        model, shape = _model(name)

        def draw(seed: int, target: Target = target, shape: tuple[int, ...] = shape) -> dict[str, np.ndarray]:
            rng = np.random.default_rng([seed, 9])
            return {"x": rng.standard_normal(shape).astype(np.float32), "target": target(rng)}

        entries.append(Entry(f"loss/{name}", model.training_graph(loss), draw, smoke=name == "cross_entropy"))
    return tuple(entries)
