"""Accumulation, averages, groups, constraints and penalties in a trainer, on every backend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polymodel as pm
from polymodel import nn
from polymodel.callbacks import EMA, Checkpoints
from polymodel.errors import ConfigError, GraphError, NonFiniteLoss, TrainingError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((21, 2, 5, 5)).astype(np.float32)
Y = RNG.integers(0, 3, 21)
Make = Callable[..., pm.Trainer]


@pytest.fixture
def make(backend: str) -> Make:
    """Trainers of a convolution, dropout and a dense layer: weights that TensorFlow stores in another order among them."""

    def trainer(loss: Any = "cross_entropy", optimizer: Any = "sgd", **options: Any) -> pm.Trainer:
        layers = (nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Dropout(0.25), nn.Flatten(), nn.Linear(36, 3))
        model = pm.Model(nn.Sequential(*layers), {"x": pm.TensorSpec(("batch", 2, 5, 5))}, ["y"], seed=1)
        return pm.Trainer(model, loss, optimizer, backend=backend, device="cpu", **options)

    return trainer


@pytest.mark.parametrize(
    ("loss", "optimizer"),
    [
        ("cross_entropy", {"name": "sgd", "lr": 0.5, "momentum": 0.5}),
        ({"name": "cross_entropy", "weight": [1, 2, 3], "ignore_index": 0}, {"name": "adam", "lr": 0.01, "ema": 0.5}),
        ({"name": "cross_entropy", "reduction": "sum"}, {"name": "adafactor", "lr": 0.1}),
    ],
    ids=["sgd", "adam", "adafactor"],
)
def test_accumulated_steps_are_those_of_the_large_batch(make: Make, loss: Any, optimizer: Any) -> None:
    """21 samples in parts of 5, 5, 6 and 5, with dropout and clipping."""
    options = {"loss": loss, "optimizer": optimizer, "metrics": ["accuracy", "f1"], "clip": {"norm": 0.5}}
    whole, parts = make(**options), make(**options, accumulate=4)
    for _ in range(2):
        a, b = whole.train_on_batch(X, Y), parts.train_on_batch(X, Y)
        assert b["f1"] == pytest.approx(a["f1"], rel=1e-12)
        assert b["loss"] == pytest.approx(a["loss"], rel=2e-6)
    assert parts.program.slots.keys() == whole.program.slots.keys()
    for what in ("parameters", "slots"):
        want, found = getattr(whole.program, what), getattr(parts.program, what)
        for name, value in want.items():
            np.testing.assert_allclose(found[name], value, rtol=2e-4, atol=2e-6, err_msg=name)


def test_an_accumulated_step_that_is_not_finite_changes_nothing(make: Make) -> None:
    t = make(optimizer={"name": "sgd", "lr": 0.5}, accumulate=3)
    before = t.program.parameters
    bad = X.copy()
    bad[10] = np.nan
    with pytest.raises(NonFiniteLoss):
        t.train_on_batch(bad, Y)
    for name, value in t.program.parameters.items():
        np.testing.assert_array_equal(value, before[name])
    again = make(optimizer={"name": "sgd", "lr": 0.5}, accumulate=3)
    assert t.train_on_batch(X, Y) == again.train_on_batch(X, Y)
    for name, value in t.program.parameters.items():
        np.testing.assert_array_equal(value, again.program.parameters[name])


def test_accumulation_resumes(make: Make, tmp_path: Path) -> None:
    def fitted(**options: Any) -> pm.Trainer:
        t = make(optimizer={"name": "adam", "lr": 0.01, "ema": 0.75}, accumulate=2)
        t.fit((X, Y), epochs=2, batch_size=6, progress=False, **options)
        return t

    whole = fitted(callbacks=[Checkpoints(tmp_path, every=0, every_steps=3, keep=0)])
    resumed = fitted(resume=tmp_path / "step-00000006")
    for what in ("parameters", "slots"):
        for name, value in getattr(whole.program, what).items():
            np.testing.assert_array_equal(getattr(resumed.program, what)[name], value)


def test_averages(make: Make) -> None:
    t = make(optimizer={"name": "sgd", "lr": 0.5, "ema": 0.75})
    want = t.program.parameters
    for _ in range(3):
        t.train_on_batch(X, Y)
        want = {n: 0.75 * want[n] + 0.25 * p for n, p in t.program.parameters.items()}
    found, own = t.averages, t.program.parameters
    for name, value in want.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-7)
    plain = t.evaluate((X, Y))["loss"]
    with t.averaged():
        averaged = t.evaluate((X, Y))["loss"]
    assert averaged != plain
    assert t.evaluate((X, Y))["loss"] == plain
    t.fit((X, Y), epochs=1, batch_size=21, validation=(X, Y), callbacks=[EMA()], progress=False)
    assert t.history["val_loss"][-1] == t.evaluate((X, Y))["loss"]
    for name, value in t.program.parameters.items():
        np.testing.assert_array_equal(value, t.averages[name])
        assert not np.array_equal(value, own[name])
    with pytest.raises(ConfigError, match="there are no averages"):
        make().fit((X, Y), epochs=1, callbacks=[EMA()], progress=False)


def test_groups_and_constraints(make: Make) -> None:
    groups = [{"match": "*.bias", "lr": 0.0}, {"match": "0.*", "lr": 0.25}]
    limits = [{"name": "unit_norm", "match": "0.weight"}, {"name": "max_norm", "match": "4.weight", "max_norm": 0.5}]
    t = make(optimizer={"name": "sgd", "lr": 0.5, "groups": groups, "constraints": limits})
    plain = make(optimizer={"name": "sgd", "lr": 0.5})
    before = t.program.parameters
    t.train_on_batch(X, Y)
    plain.train_on_batch(X, Y)
    after, free = t.program.parameters, plain.program.parameters
    for name in ("0.bias", "4.bias"):
        np.testing.assert_array_equal(after[name], before[name])
    slow = before["0.weight"] + 0.5 * (free["0.weight"] - before["0.weight"])
    norms = np.sqrt((slow.astype(np.float64) ** 2).sum((1, 2, 3), keepdims=True))
    np.testing.assert_allclose(after["0.weight"], slow / norms, rtol=1e-5, atol=1e-6)
    norms = np.linalg.norm(free["4.weight"].astype(np.float64), axis=1, keepdims=True)
    np.testing.assert_allclose(after["4.weight"], free["4.weight"] * np.minimum(1, 0.5 / norms), rtol=1e-5, atol=1e-6)
    with pytest.raises(GraphError, match=r"pattern 'head.\*' matches no trained parameter"):
        make(optimizer={"name": "sgd", "groups": [{"match": "head.*", "lr": 0}]})


def test_penalties(make: Make) -> None:
    """The reported loss has them, and the derivative is l1 sign(p) + 2 l2 p."""
    penalties = [{"match": "*.weight", "l2": 0.01}, {"match": "4.weight", "l1": 0.1}]
    t, plain = make(optimizer={"name": "sgd", "lr": 1.0}, regularizers=penalties), make(optimizer={"name": "sgd", "lr": 1.0})
    p = {n: a.astype(np.float64) for n, a in t.program.parameters.items()}
    extra = 0.01 * ((p["0.weight"] ** 2).sum() + (p["4.weight"] ** 2).sum()) + 0.1 * np.abs(p["4.weight"]).sum()
    assert t.evaluate((X, Y))["loss"] == pytest.approx(plain.evaluate((X, Y))["loss"] + extra, rel=1e-6)
    assert t.train_on_batch(X, Y)["loss"] == pytest.approx(plain.train_on_batch(X, Y)["loss"] + extra, rel=1e-6)
    moved = {n: plain.program.parameters[n] - t.program.parameters[n] for n in p}
    np.testing.assert_allclose(moved["0.weight"], 0.02 * p["0.weight"], atol=1e-6)
    np.testing.assert_allclose(moved["4.weight"], 0.02 * p["4.weight"] + 0.1 * np.sign(p["4.weight"]), atol=1e-6)
    np.testing.assert_array_equal(moved["4.bias"], 0)


def test_what_cannot_be_accumulated_is_refused(trainer: Make, toy: Any) -> None:
    with pytest.raises(ConfigError, match="accumulate must be an integer of 1 or more"):
        trainer(accumulate=0)
    with pytest.raises(ConfigError, match="cannot be accumulated over parts"):
        trainer(loss="triplet", metrics=[], accumulate=2, schedule=None).train_on_batch(*toy.train)
    model = pm.Model(nn.Linear(5, 3), {"x": pm.TensorSpec((6, 5))}, ["y"])
    with pytest.raises(GraphError, match="fixed size cannot be cut"):
        trainer(model=model, accumulate=2, schedule=None).train_on_batch(toy.train[0][:6], toy.train[1][:6])
    two = pm.Model(_Two(), {"x": pm.TensorSpec(("batch", 5))}, ["a", "b"])
    loss = {"a": {"name": "cross_entropy", "weight": [1, 2, 3]}, "b": "cross_entropy"}
    t = trainer(model=two, loss=loss, metrics={}, accumulate=2, schedule=None)
    with pytest.raises(TrainingError, match="divide by different numbers"):
        t.train_on_batch(toy.train[0], {"a": toy.train[1], "b": toy.train[1]})


class _Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(5, 3), nn.Linear(5, 3)

    def forward(self, x: Any) -> Any:
        return self.a(x), self.b(x)
