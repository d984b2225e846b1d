"""A model of your own for a configuration: examples/two_moons.yaml names `build`."""

from __future__ import annotations

import polymodel as pm
from polymodel import nn


def build(seed: int, width: int = 32, dropout: float = 0.1) -> pm.Model:
    """Two hidden layers on points of the plane: float32 (batch, 2) -> (batch, 2).

    Args:
        seed: of the initial values; the run's own.
        width: of the hidden layers.
        dropout: probability after each of them.
    """
    layers = nn.Sequential(
        nn.Linear(2, width), nn.GELU(), nn.Dropout(dropout),
        nn.Linear(width, width), nn.GELU(), nn.Dropout(dropout),
        nn.Linear(width, 2),
    )
    return pm.Model(layers, {"x": pm.TensorSpec(("batch", 2))}, ["logits"], seed=seed)
