"""The order of hooks, and callbacks that are about more than logs."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polymodel as pm
from polymodel.callbacks import (
    EMA,
    Callback,
    Checkpoints,
    EarlyStopping,
    Lambda,
    LearningRate,
    ReduceOnPlateau,
    TensorBoard,
    TerminateOnNaN,
    Timing,
)
from polymodel.errors import ConfigError, NonFiniteLoss
from polymodel.training.history import History

RNG = np.random.default_rng(0)
DATA = RNG.standard_normal((20, 4)).astype(np.float32), RNG.integers(0, 2, 20)


def trainer(**options: Any) -> pm.Trainer:
    model = pm.Model(pm.nn.Linear(4, 2), {"x": pm.TensorSpec(("batch", 4))}, ["y"])
    given = {"optimizer": pm.optim.SGD(0.1), "metrics": ["accuracy"], **options}
    return pm.Trainer(model, "cross_entropy", backend="torch", device="cpu", **given)


def run(t: pm.Trainer, *callbacks: Callback, epochs: int = 3, **options: Any) -> pm.Trainer:
    t.fit(DATA, epochs=epochs, callbacks=callbacks, progress=False, **{"batch_size": 8, "validation": DATA, **options})
    return t


def test_the_documented_order() -> None:
    seen: list[str] = []

    def note(word: str) -> Any:
        return lambda fit, *row: seen.append(word)

    def lam(word: str) -> Lambda:
        hooks = ("start", "epoch_start", "step", "validation_start", "validation_end", "epoch", "end")
        return Lambda(**{f"on_{h}": note(f"{word} {h}") for h in hooks})

    class Early(Callback):
        order = -1

        def on_epoch(self, fit: Any, row: Any) -> None:
            seen.append("early epoch")

    run(trainer(), lam("a"), lam("b"), Early(), epochs=2, validate_every=2)
    epoch = ["a epoch_start", "b epoch_start", *["a step", "b step"] * 3]
    held = ["a validation_start", "b validation_start", "b validation_end", "a validation_end"]
    rows = ["early epoch", "a epoch", "b epoch"]
    assert seen == ["a start", "b start", *epoch, *rows, *epoch, *held, *rows, "b end", "a end"]
    assert Lambda(on_step=print).sees_steps
    assert not Lambda(on_epoch=print).sees_steps


def test_the_best_epoch_comes_back() -> None:
    """A rate that is far too large after the second epoch makes things worse."""
    best: dict[int, dict[str, np.ndarray]] = {}
    keeping = Lambda(on_epoch=lambda fit, row: best.update({row["epoch"]: fit.trainer.program.parameters}))
    worse = LearningRate(lambda epoch: 1.0 if epoch < 2 else 1e4)
    t = run(trainer(), worse, keeping, EarlyStopping("val_loss", patience=2, restore_best=True), epochs=9)
    assert t.epoch == 4
    losses = t.history["val_loss"]
    chosen = int(np.argmin(losses)) + 1
    assert chosen == 2
    for name, value in t.program.parameters.items():
        np.testing.assert_array_equal(value, best[chosen][name])
        np.testing.assert_array_equal(value, t.model.values[name])
    assert t.evaluate(DATA)["loss"] == pytest.approx(losses[1], rel=1e-6)


def test_the_best_averages_come_back() -> None:
    """What is kept is what was validated: the averages of the best epoch."""
    t = trainer(optimizer={"name": "sgd", "lr": 0.1, "ema": 0.5})
    worse = LearningRate(lambda epoch: 1.0 if epoch < 2 else 1e4)
    run(t, EarlyStopping("val_loss", patience=2, restore_best=True), EMA(), worse, epochs=9)
    losses = t.history["val_loss"]
    assert int(np.argmin(losses)) == 1
    assert t.evaluate(DATA)["loss"] == pytest.approx(losses[1], rel=1e-6)


def test_a_plateau_reduces_the_rate(tmp_path: Path) -> None:
    """min_delta is so large that only the first epoch is better: reductions after 2 epochs, one of rest, and 2 more."""

    def plateau() -> ReduceOnPlateau:
        return ReduceOnPlateau("loss", 0.5, patience=2, min_delta=100.0, cooldown=1, min_factor=0.2)

    def rates(t: pm.Trainer) -> list[float]:
        return [round(lr / float(np.float32(0.1)), 9) for lr in t.history["lr"]]

    whole = run(trainer(), plateau(), Checkpoints(tmp_path / "all", keep=0), epochs=10)
    assert rates(whole) == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.2]
    resumed = run(trainer(), plateau(), epochs=10, resume=tmp_path / "all" / "step-00000015")
    assert rates(resumed) == rates(whole)
    np.testing.assert_array_equal(resumed.program.parameters["weight"], whole.program.parameters["weight"])


def test_a_rate_by_a_function() -> None:
    t = run(trainer(), LearningRate(lambda epoch: 0.5**epoch))
    assert t.history["lr"] == [t.optimizer.lr * 0.5**e for e in range(3)]
    with pytest.raises(ConfigError, match="leave it out, or the callback LearningRate"):
        run(trainer(schedule=pm.optim.Cosine(3)), LearningRate(lambda epoch: 1.0))


def test_a_loss_that_is_not_finite_may_end_the_fit() -> None:
    ending: list[str] = []
    t = trainer(optimizer=pm.optim.SGD(1e38))
    with pytest.raises(NonFiniteLoss):
        run(trainer(optimizer=pm.optim.SGD(1e38)), epochs=9)
    run(t, TerminateOnNaN(), Lambda(on_end=lambda fit: ending.append(fit.reason)), epochs=9)
    assert t.epoch < 9
    assert ending[0].startswith("the loss is")


def test_timing() -> None:
    timing = Timing()
    run(trainer(), timing)
    assert [(r["epoch"], r["steps"]) for r in timing.rows] == [(1, 3), (2, 3), (3, 3)]
    for row in timing.rows:
        assert row["steps_per_second"] == pytest.approx(3 / row["seconds"])
        assert row["samples_per_second"] == pytest.approx(20 / row["seconds"])


def test_event_files(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    event_type = import_module("tensorboardX.proto.event_pb2").Event

    t = run(trainer(), TensorBoard(tmp_path), epochs=2)
    (file,) = tmp_path.glob("events.out.tfevents.*")
    data = file.read_bytes()
    found: dict[str, list[tuple[int, float]]] = {}
    while data:  # length (8 bytes), its checksum (4), the event, its checksum (4)
        size = int.from_bytes(data[:8], "little")
        event = event_type.FromString(data[12 : 12 + size])
        data = data[16 + size :]
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
    assert [s for s, _ in found["loss/train"]] == [3, 6]
    assert [v for _, v in found["loss/validation"]] == pytest.approx(t.history["val_loss"], rel=1e-6)
    assert {"lr", "seconds", "accuracy/train", "accuracy/validation"} <= set(found)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match="pip install tensorboardX"):
        TensorBoard(tmp_path)
    with pytest.raises(ConfigError, match="pip install matplotlib"):
        History([{"epoch": 1, "loss": 1.0}]).plot(tmp_path / "a.svg")


def test_a_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    t = run(trainer(), epochs=3)
    assert "val_accuracy" in t.history.table().splitlines()[0]
    text = t.history.plot(tmp_path / "all.svg").read_text()
    assert text.count('id="axes_') == 2
    assert t.history.plot(tmp_path / "loss.svg", ["loss"]).read_text().count('id="axes_') == 1
    with pytest.raises(KeyError):
        t.history.plot(tmp_path / "none.svg", ["f1"])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ReduceOnPlateau(factor=1.0), r"factor must be in \(0, 1\)"),
        (lambda: ReduceOnPlateau(patience=0), "patience must be an integer of 1 or more"),
        (lambda: ReduceOnPlateau(cooldown=-1), "cooldown must be an integer of 0 or more"),
    ],
)
def test_impossible_values(make: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()
