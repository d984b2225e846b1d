"""What fit, evaluate, predict and train_on_batch do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import polymodel as pm
from polymodel import random
from polymodel.errors import ConfigError, TrainingError

TrainerMaker = Callable[..., pm.Trainer]


def values(trainer: pm.Trainer) -> dict[str, np.ndarray]:
    """Everything that training changes."""
    program = trainer.program
    return {**program.parameters, **program.buffers, **program.slots}


def same(a: pm.Trainer, b: pm.Trainer) -> bool:
    """Whether two trainers hold the same bits."""
    left, right = values(a), values(b)
    return left.keys() == right.keys() and all(left[n].tobytes() == right[n].tobytes() for n in left)


def test_a_fit_learns(toy: Any, trainer: TrainerMaker, backend: str) -> None:
    t = trainer(backend, optimizer=pm.optim.Adam(5e-2))
    history = t.fit(toy.train, epochs=8, batch_size=16, validation=toy.held, progress=False)
    assert history is t.history
    assert history["loss"][-1] < 0.6 * history["loss"][0]
    assert history["val_accuracy"][-1] > 0.85
    assert history["epoch"] == list(range(1, 9))


def test_the_last_partial_batch_is_trained_too(toy: Any, trainer: TrainerMaker) -> None:
    t = trainer()
    t.fit(toy.train, epochs=2, batch_size=40, progress=False)  # 90 samples: 40, 40, 10
    assert t.step == 6
    assert t.history["step"] == [3, 6]
    assert (t.epoch, len(t.history)) == (2, 2)


def test_a_fit_is_its_steps(toy: Any, trainer: TrainerMaker, backend: str) -> None:
    """fit draws the documented order, and takes the documented learning rate."""
    fitted, stepped = trainer(backend), trainer(backend)
    fitted.fit(toy.train, epochs=2, batch_size=40, progress=False)
    x, y = toy.train
    for epoch in range(2):
        order = random.permutation(3, epoch, 90)
        sums, count = {"loss": 0.0, "accuracy": 0.0}, 0
        for batch, begin in enumerate(range(0, 90, 40)):
            index, step = order[begin : begin + 40], 3 * epoch + batch + 1
            lr = stepped.optimizer.lr * stepped.schedule.factor((step - 1) / 3)
            result = stepped.program.train_step({"x": x[index], "target": y[index]}, lr=lr, step=step)
            for name in sums:
                sums[name] += float(result[name]) * len(index)
            count += len(index)
        row = fitted.history[epoch]
        assert {n: s / count for n, s in sums.items()} == {n: row[n] for n in sums}
        assert row["lr"] == lr
    assert same(fitted, stepped)


def test_the_same_seed_gives_the_same_bits(toy: Any, trainer: TrainerMaker, backend: str) -> None:
    runs = [trainer(backend, seed=s) for s in (5, 5, 6)]
    for run in runs:
        run.fit(toy.train, epochs=2, batch_size=16, progress=False)
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def test_without_shuffle_the_order_is_the_given_one(toy: Any, trainer: TrainerMaker) -> None:
    fitted, stepped = trainer(schedule=None), trainer(schedule=None)
    fitted.fit(toy.train, epochs=1, batch_size=30, shuffle=False, progress=False)
    for begin in range(0, 90, 30):
        stepped.train_on_batch(*(a[begin : begin + 30] for a in toy.train))
    assert same(fitted, stepped)


def test_train_on_batch_returns_floats_before_the_step(toy: Any, trainer: TrainerMaker, backend: str) -> None:
    t = trainer(backend, schedule=None)
    first = t.train_on_batch(toy.train[0][:32], toy.train[1][:32])
    assert set(first) == {"loss", "accuracy"}
    assert all(type(v) is float for v in first.values())
    for _ in range(20):
        last = t.train_on_batch(toy.train[0][:32], toy.train[1][:32])
    assert last["loss"] < first["loss"]
    assert t.step == 21


def test_single_steps_have_no_epochs(toy: Any, trainer: TrainerMaker) -> None:
    with pytest.raises(TrainingError, match="counts in epochs"):
        trainer().train_on_batch(*toy.train)
    lr = trainer(schedule=pm.optim.Warmup(4, unit="step"), optimizer=pm.optim.SGD(0.5)).learning_rate(3)
    assert lr == 0.25


def test_a_second_fit_goes_on(toy: Any, trainer: TrainerMaker) -> None:
    once, twice = trainer(), trainer()
    once.fit(toy.train, epochs=4, batch_size=16, progress=False)
    twice.fit(toy.train, epochs=1, batch_size=16, progress=False)
    twice.fit(toy.train, epochs=3, batch_size=16, progress=False)
    assert same(once, twice)
    assert once.history["loss"] == twice.history["loss"]


def test_validation_every_n_epochs_and_at_the_end(toy: Any, trainer: TrainerMaker) -> None:
    t = trainer()
    t.fit(toy.train, epochs=5, batch_size=32, validation=toy.held, validate_every=2, progress=False)
    assert [("val_loss" in row) for row in t.history] == [False, True, False, True, True]


def test_evaluate_is_the_mean_over_samples(toy: Any, trainer: TrainerMaker, backend: str) -> None:
    t = trainer(backend)
    t.fit(toy.train, epochs=1, batch_size=32, progress=False)
    logits = t.predict(toy.held[0]).astype(np.float64)
    y = toy.held[1]
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(30), y]
    found = t.evaluate(toy.held, batch_size=7)
    assert found["loss"] == pytest.approx(losses.mean(), rel=1e-5)
    assert found["accuracy"] == pytest.approx((logits.argmax(1) == y).mean(), rel=1e-6)


def test_predict_joins_batches(toy: Any, trainer: TrainerMaker, backend: str) -> None:
    t = trainer(backend)
    whole = t.predict(toy.train[0])
    assert whole.shape == (90, 3)
    np.testing.assert_allclose(t.predict(toy.train[0], batch_size=20), whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(t.predict({"x": toy.train[0]}), whole)


def test_trained_values_reach_the_model(toy: Any, trainer: TrainerMaker) -> None:
    t = trainer()
    before = {n: v.copy() for n, v in t.model.values.items()}
    t.fit(toy.train, epochs=1, progress=False)
    after = t.model.values
    assert not np.array_equal(before["head.weight"], after["head.weight"])
    assert not np.array_equal(before["norm.running_mean"], after["norm.running_mean"])
    for name, value in {**t.program.parameters, **t.program.buffers}.items():
        np.testing.assert_array_equal(after[name], value)


def test_clipping_limits_a_step(toy: Any, trainer: TrainerMaker, backend: str) -> None:
    t = trainer(backend, optimizer=pm.optim.SGD(1.0), schedule=None, clip={"norm": 1e-3})
    before = t.program.parameters
    t.train_on_batch(*toy.train)
    squares = [((v - before[n]).astype(np.float64) ** 2).sum() for n, v in t.program.parameters.items()]
    assert np.sqrt(sum(squares)) == pytest.approx(1e-3, rel=0.02)


@pytest.mark.parametrize("change", [{"epochs": 0}, {"batch_size": 0}, {"batch_size": 2.5}, {"validate_every": -1}])
def test_impossible_arguments(toy: Any, trainer: TrainerMaker, change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(change))} must be an integer of 1 or more"):
        trainer().fit(toy.train, **{"epochs": 1, "progress": False, **change})


def test_metrics_need_different_names(trainer: TrainerMaker) -> None:
    with pytest.raises(ConfigError, match="different names"):
        trainer(metrics=["accuracy", "accuracy"])
