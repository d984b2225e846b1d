"""A linear model and a few samples: callbacks do not care what is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import polymodel as pm
from polymodel.training.history import History

Fit = Callable[..., History]


@pytest.fixture
def fit() -> Fit:
    """fit(callbacks, epochs=..., ...) -> history of a fresh trainer; 20 samples, 3 steps an epoch."""

    def run(callbacks: list[pm.callbacks.Callback], epochs: int = 3, **options: Any) -> History:
        rng = np.random.default_rng(0)
        data = rng.standard_normal((20, 4)).astype(np.float32), rng.integers(0, 2, 20)
        model = pm.Model(pm.nn.Linear(4, 2), {"x": pm.TensorSpec(("batch", 4))}, ["y"])
        trainer = pm.Trainer(
            model, "cross_entropy", pm.optim.SGD(0.1), ["accuracy"], backend="torch", device="cpu",
        )
        defaults: dict[str, Any] = {"batch_size": 8, "validation": data, "progress": False}
        return trainer.fit(data, epochs=epochs, callbacks=callbacks, **{**defaults, **options})

    return run
