"""A small problem with everything a resumed run could get wrong: dropout, running statistics, momentum, a schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import polymodel as pm
from polymodel import nn
from tests.installed import NAMES, installed

TrainerMaker = Callable[..., pm.Trainer]


class _Net(nn.Module):
    """Linear, BatchNorm, ReLU, Dropout, Linear: (batch, 5) -> (batch, 3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(5, width)
        self.norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(width, 3)

    def forward(self, x: Any) -> Any:
        return self.head(self.dropout(nn.functional.relu(self.norm(self.first(x)))))


@dataclass(frozen=True)
class Toy:
    """Three Gaussian clouds, 90 samples to train on and 30 held out."""

    train: tuple[np.ndarray, np.ndarray]
    held: tuple[np.ndarray, np.ndarray]

    def model(self, width: int = 8, seed: int = 0) -> pm.Model:
        """A fresh model with its initial values."""
        return pm.Model(_Net(width), {"x": pm.TensorSpec(("batch", 5))}, ["logits"], seed=seed)


@pytest.fixture
def toy() -> Toy:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 120)
    x = (rng.standard_normal((120, 5)) + 2.0 * rng.standard_normal((3, 5))[y]).astype(np.float32)
    return Toy((x[:90], y[:90]), (x[90:], y[90:]))


@pytest.fixture(params=NAMES)
def backend(request: pytest.FixtureRequest) -> str:
    return installed(str(request.param))


@pytest.fixture
def trainer(toy: Toy) -> TrainerMaker:
    """Makes trainers; keyword arguments replace the defaults."""

    def make(backend: str = "torch", **changes: Any) -> pm.Trainer:
        options: dict[str, Any] = {
            "loss": "cross_entropy",
            "optimizer": pm.optim.Adam(1e-2),
            "metrics": ["accuracy"],
            "schedule": pm.optim.Cosine(4, final=0.1),
            "device": "cpu",
            "seed": 3,
        }
        model = changes.pop("model", None) or toy.model()
        return pm.Trainer(model, backend=backend, **{**options, **changes})

    return make
