"""A loss that is not finite stops the run, and the message says where it came from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polymodel as pm
from polymodel import nn
from polymodel.callbacks import Checkpoints
from polymodel.errors import NonFiniteLoss
from polymodel.training import checkpoint

TrainerMaker = Callable[..., pm.Trainer]


class Risky(nn.Module):
    """exp of a linear layer overflows when the layer grows."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)
        self.dropout = nn.Dropout(0.3)

    def forward(self, x: Any) -> Any:
        return self.dropout(nn.functional.exp(self.layer(x)))


def risky() -> pm.Model:
    return pm.Model(Risky(), {"x": pm.TensorSpec(("batch", 5))}, ["logits"], seed=0)


def test_the_node_is_named(toy: Any, trainer: TrainerMaker, backend: str) -> None:
    t = trainer(backend, model=risky(), schedule=None)
    t.program.parameters = {"layer.bias": np.array([0, 1000, 0], np.float32)}
    before = {n: a.tobytes() for n, a in {**t.program.parameters, **t.program.slots}.items()}
    with pytest.raises(NonFiniteLoss, match=r"at step 1: the first value that is not finite was made by node '.*Exp'"):
        t.train_on_batch(*toy.train)
    with pytest.raises(NonFiniteLoss, match=r"at step 1 \(epoch 1, batch 1 of 3\): .*made by node '.*Exp'"):
        t.fit(toy.train, epochs=1, progress=False)
    assert {n: a.tobytes() for n, a in {**t.program.parameters, **t.program.slots}.items()} == before


def test_the_sample_is_named(toy: Any, trainer: TrainerMaker, backend: str, tmp_path: Path) -> None:
    x = toy.train[0].copy()
    x[70, 2] = np.nan
    t = trainer(backend)
    saving = Checkpoints(tmp_path, every_steps=1)
    with pytest.raises(NonFiniteLoss, match=r"step 5 .*input 'x' is not finite in sample 6 of the batch") as caught:
        t.fit((x, toy.train[1]), epochs=1, batch_size=16, shuffle=False, callbacks=[saving], progress=False)
    kept = checkpoint.latest(tmp_path)
    assert kept is not None
    assert f"The last checkpoint is {kept}" in str(caught.value)
    assert checkpoint.load(kept).record["step"] == 4


def test_a_parameter_that_overflowed_is_named(toy: Any, trainer: TrainerMaker, backend: str, tmp_path: Path) -> None:
    """The loss was finite, the update was not."""
    model = pm.Model(nn.Linear(5, 3), {"x": pm.TensorSpec(("batch", 5))}, ["logits"])
    t = trainer(backend, model=model, optimizer=pm.optim.SGD(3e38), schedule=None)
    saving = Checkpoints(tmp_path, every_steps=1)
    with pytest.raises(NonFiniteLoss, match=r"parameter '[a-z.]+' is not finite"):
        t.fit((toy.train[0] * 1e3, toy.train[1]), epochs=9, batch_size=16, callbacks=[saving], progress=False)
    for path in checkpoint.complete(tmp_path):
        assert all(np.isfinite(a).all() for a in checkpoint.load(path).parameters.values())


def test_infinities_that_lead_nowhere_are_not_blamed(toy: Any, trainer: TrainerMaker) -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(5, 3)

        def forward(self, x: Any) -> Any:
            scores = self.layer(x)
            shares = nn.functional.softmax(scores + np.array([0, -np.inf, 0], np.float32))
            return nn.functional.exp(shares * 1000.0)

    model = pm.Model(Masked(), {"x": pm.TensorSpec(("batch", 5))}, ["logits"])
    t = trainer(model=model, schedule=None)
    with pytest.raises(NonFiniteLoss, match=r"made by node 'Exp'"):
        t.train_on_batch(*toy.train)
