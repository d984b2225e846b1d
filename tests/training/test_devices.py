"""Several devices of one host share each batch: the step of one device, on every backend. "cpu:0" and "cpu:1" are one processor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polymodel as pm
from polymodel import nn
from polymodel.callbacks import Checkpoints
from polymodel.errors import ConfigError, DeviceUnavailable, GraphError, NonFiniteLoss, TrainingError, Unsupported

RNG = np.random.default_rng(0)
X = RNG.standard_normal((21, 2, 5, 5)).astype(np.float32)
Y = RNG.integers(0, 3, 21)
TWO, THREE = ["cpu:0", "cpu:1"], ["cpu:0", "cpu:1", "cpu:2"]
SGD = {"name": "sgd", "lr": 0.5, "momentum": 0.5}
Make = Callable[..., pm.Trainer]


@pytest.fixture
def make(backend: str) -> Make:
    """Trainers of a convolution, dropout and a dense layer, on the processor unless `devices` says otherwise."""

    def trainer(loss: Any = "cross_entropy", optimizer: Any = SGD, norm: bool = False, **options: Any) -> pm.Trainer:
        between = (nn.BatchNorm2d(4),) if norm else (nn.ReLU(), nn.Dropout(0.25))
        layers = (nn.Conv2d(2, 4, 3), *between, nn.Flatten(), nn.Linear(36, 3))
        model = options.pop("model", None) or pm.Model(
            nn.Sequential(*layers), {"x": pm.TensorSpec(("batch", 2, 5, 5))}, ["y"], seed=1
        )
        options.setdefault("device", "auto" if "devices" in options else "cpu")
        return pm.Trainer(model, loss, optimizer, backend=backend, **options)

    return trainer


def state(t: pm.Trainer) -> dict[str, np.ndarray]:
    program = t.program
    return {**program.parameters, **program.buffers, **program.slots}


def assert_close(found: dict[str, np.ndarray], want: dict[str, np.ndarray]) -> None:
    assert found.keys() == want.keys()
    for name, value in want.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-4, atol=2e-6, err_msg=name)


def assert_same_bits(found: dict[str, np.ndarray], want: dict[str, np.ndarray]) -> None:
    assert found.keys() == want.keys()
    for name, value in want.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize(
    ("loss", "optimizer"),
    [
        ("cross_entropy", SGD),
        ({"name": "cross_entropy", "weight": [1, 2, 3], "ignore_index": 0}, {"name": "adam", "lr": 0.01, "ema": 0.5}),
        ({"name": "cross_entropy", "reduction": "sum"}, {"name": "adafactor", "lr": 0.1}),
    ],
    ids=["sgd", "adam", "adafactor"],
)
def test_steps_of_several_devices_are_those_of_one(make: Make, loss: Any, optimizer: Any) -> None:
    """21 samples on two devices, and in two parts on each of two, with dropout and clipping."""
    metrics = ["accuracy", "f1", {"name": "cross_entropy", "ignore_index": 1}]
    options = {"loss": loss, "optimizer": optimizer, "metrics": metrics, "clip": {"norm": 0.5}}
    whole, spread, cut = make(**options), make(**options, devices=TWO), make(**options, devices=TWO, accumulate=2)
    for _ in range(2):
        want = whole.train_on_batch(X, Y)
        for t in (spread, cut):
            assert t.train_on_batch(X, Y) == pytest.approx(want, rel=2e-6)
    for t in (spread, cut):
        assert_close(state(t), state(whole))
    assert spread.program.devices == ("cpu:0", "cpu:1")


@pytest.mark.parametrize("rows", [7, 2, 1])
def test_batches_that_devices_cannot_share_evenly(make: Make, rows: int) -> None:
    whole, spread = make(), make(devices=THREE)
    want = whole.train_on_batch(X[:rows], Y[:rows])
    assert spread.train_on_batch(X[:rows], Y[:rows]) == pytest.approx(want, rel=2e-6)
    assert_close(state(spread), state(whole))


def test_sample_weights(make: Make) -> None:
    weight = np.linspace(0, 2, 21).astype(np.float32)
    whole, spread = make(), make(devices=TWO)
    want = whole.train_on_batch(X, Y, weight)
    assert spread.train_on_batch(X, Y, weight) == pytest.approx(want, rel=2e-6)
    assert_close(state(spread), state(whole))
    assert spread.program.devices == ("cpu:0", "cpu:1")


def test_a_device_whose_labels_are_all_ignored_has_nothing_to_do(make: Make) -> None:
    loss = {"name": "cross_entropy", "ignore_index": 0}
    labels = np.where(np.arange(21) < 10, 0, 1 + Y % 2)
    whole, spread = make(loss), make(loss, devices=THREE)
    want = whole.train_on_batch(X, labels)
    assert spread.train_on_batch(X, labels) == pytest.approx(want, rel=2e-6)
    assert_close(state(spread), state(whole))


class _Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(5, 3), nn.Linear(4, 1)

    def forward(self, x: Any, z: Any) -> Any:
        return self.a(x), self.b(z)


def test_several_inputs_outputs_and_losses(make: Make) -> None:
    x = {"x": RNG.standard_normal((7, 5), dtype=np.float32), "z": RNG.standard_normal((7, 4), dtype=np.float32)}
    y: dict[str, np.ndarray] = {"p": Y[:7], "q": RNG.standard_normal((7, 1), dtype=np.float32)}
    inputs = {"x": pm.TensorSpec(("batch", 5)), "z": pm.TensorSpec(("batch", 4))}

    def trained(**place: Any) -> tuple[pm.Trainer, dict[str, Any]]:
        model = pm.Model(_Two(), inputs, ["p", "q"], seed=2)
        t = make({"p": "cross_entropy", "q": "mse"}, model=model, metrics={"p": ["accuracy"]}, loss_weights={"q": 0.5}, **place)
        return t, t.train_on_batch(x, y)

    (whole, want), (spread, found) = trained(), trained(devices=TWO)
    assert found == pytest.approx(want, rel=2e-6)
    assert_close(state(spread), state(whole))
    for name, value in spread.predict(x, batch_size=2).items():
        assert value.shape == (7, {"p": 3, "q": 1}[name])


def test_batch_norm_sees_the_rows_of_its_device(make: Make) -> None:
    """Statistics move once on each device, by the rows it has; then they are averaged, weighted with those."""
    t = make(norm=True, devices=TWO)
    alone = [make(norm=True) for _ in range(2)]
    t.train_on_batch(X, Y)
    for one, rows in zip(alone, (slice(0, 10), slice(10, 21)), strict=True):
        one.train_on_batch(X[rows], Y[rows])
    first, second = (a.program.buffers for a in alone)
    for name, value in t.program.buffers.items():
        np.testing.assert_allclose(value, first[name] * 10 / 21 + second[name] * 11 / 21, rtol=1e-6, atol=1e-7)
    gradients = [{n: g for n, g in a.program.slots.items() if n.startswith("momentum")} for a in alone]
    for name, value in t.program.slots.items():
        np.testing.assert_allclose(value, (gradients[0][name] * 10 + gradients[1][name] * 11) / 21, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_that_is_not_finite_changes_nothing(make: Make, accumulate: int) -> None:
    t, again = (make(norm=True, devices=TWO, accumulate=accumulate) for _ in range(2))
    bad = X.copy()
    bad[20] = np.nan
    before = state(t)
    with pytest.raises(NonFiniteLoss, match="sample 20"):
        t.train_on_batch(bad, Y)
    assert_same_bits(state(t), before)
    assert t.train_on_batch(X, Y) == again.train_on_batch(X, Y)
    assert_same_bits(state(t), state(again))


def test_a_fit_says_what_one_device_says(make: Make) -> None:
    """Evaluations and predictions are the same bits: devices take whole batches in turn."""
    options = {"metrics": ["accuracy", "f1"]}
    fitted = make(**options, devices=TWO)
    fitted.fit((X, Y), epochs=2, batch_size=6, validation=(X, Y), progress=False)
    whole = make(**options)
    whole.program.parameters = fitted.program.parameters
    assert fitted.evaluate((X, Y), batch_size=4) == whole.evaluate((X, Y), batch_size=4)
    np.testing.assert_array_equal(fitted.predict(X, batch_size=4), whole.predict(X, batch_size=4))
    batches = [(X[:5], Y[:5]), (X[5:8], Y[5:8]), (X[8:], Y[8:])]
    np.testing.assert_array_equal(fitted.predict(batches), whole.predict(batches))
    assert fitted.history["val_loss"][-1] == fitted.evaluate((X, Y))["loss"]


def test_batches_that_bring_weights_along(make: Make) -> None:
    """Only the second of them does: the first is evaluated by the program before."""
    batches = [(X[:7], Y[:7]), (X[7:14], Y[7:14], np.full(7, 2.0, np.float32)), (X[14:], Y[14:])]
    whole, spread = make(), make(devices=TWO)
    assert spread.evaluate(batches) == whole.evaluate(batches)


def test_checkpoints_do_not_depend_on_the_number_of_devices(make: Make, tmp_path: Path) -> None:
    def fitted(epochs: int = 2, **options: Any) -> pm.Trainer:
        place = options.pop("place", {"devices": TWO})
        t = make(optimizer={"name": "adam", "lr": 0.01, "ema": 0.75}, norm=True, **place)
        t.fit((X, Y), epochs=epochs, batch_size=6, progress=False, **options)
        return t

    whole = fitted(callbacks=[Checkpoints(tmp_path, every=0, every_steps=3, keep=0)])
    assert_same_bits(state(fitted(resume=tmp_path / "step-00000006")), state(whole))
    there = fitted(1)
    path = there.save_checkpoint(tmp_path / "two")
    for place in ({}, {"devices": THREE}):
        t = make(optimizer={"name": "adam", "lr": 0.01, "ema": 0.75}, norm=True, **place)
        record = t.load_checkpoint(path).record
        assert record["devices"] == TWO
        assert_same_bits(state(t), state(there))
        t.train_on_batch(X, Y)
        assert t.step == there.step + 1


def test_parameters_are_shared_or_copied(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a device of its own gets by a copy is what one on the same memory reads; and threads change no bits."""
    t = make(norm=True, devices=THREE)
    kind = type(t.program)

    def refuse(*args: Any, **options: Any) -> None:
        raise Unsupported("no")

    monkeypatch.setattr(kind, "share", refuse)
    copies = make(norm=True, devices=THREE)
    for rows in (21, 21, 7):
        assert t.train_on_batch(X[:rows], Y[:rows]) == copies.train_on_batch(X[:rows], Y[:rows])
    assert_same_bits(state(t), state(copies))
    np.testing.assert_array_equal(t.predict(X, batch_size=3), copies.predict(X, batch_size=3))
    for program in copies.program.replicas.programs[1:]:  # type: ignore[union-attr]
        assert_same_bits(program.parameters, copies.program.parameters)


def test_a_backend_that_says_nothing_of_devices_copies(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The base class has a way for all of it that goes through NumPy."""
    want = make(norm=True, devices=TWO, clip={"norm": 0.5})
    kind: Any = type(want.program)
    for name in ("share", "hand", "collect", "average", "_compile_update"):
        monkeypatch.delattr(kind, name)
    t = make(norm=True, devices=TWO, clip={"norm": 0.5})
    for _ in range(2):
        assert t.train_on_batch(X, Y) == pytest.approx(want.train_on_batch(X, Y), rel=1e-6)
    assert_close(state(t), state(want))


@pytest.mark.filterwarnings("ignore::polymodel.errors.PrecisionWarning")
def test_scaled_losses(make: Make) -> None:
    precision = {"name": "float16", "loss_scale": {"init": 2.0**8, "interval": 2}}
    whole, spread = make(precision=precision), make(precision=precision, devices=TWO)
    for _ in range(2):
        assert spread.train_on_batch(X, Y) == pytest.approx(whole.train_on_batch(X, Y), rel=1e-3)
    assert spread.program.scaler.scale == whole.program.scaler.scale == 2.0**9  # type: ignore[union-attr]
    for name, value in whole.program.parameters.items():
        np.testing.assert_allclose(spread.program.parameters[name], value, rtol=1e-2, atol=1e-3)


def test_what_cannot_be_is_refused_at_once(trainer: Make, toy: Any) -> None:
    with pytest.raises(DeviceUnavailable, match="cuda:7"):
        trainer(device="auto", devices=["cpu:0", "cuda:7"])
    with pytest.raises(ConfigError, match="'cpu:0' is there twice"):
        trainer(device="auto", devices=["cpu", "cpu:0"])
    with pytest.raises(ConfigError, match="'auto' chooses one device"):
        trainer(device="auto", devices=["auto", "cpu:1"])
    with pytest.raises(ConfigError, match="devices: expected a list of names"):
        trainer(device="auto", devices="cpu:0")
    with pytest.raises(ConfigError, match="give one of them"):
        trainer(devices=TWO)
    with pytest.raises(ConfigError, match=r"3 devices .* and batches of 2 samples at most"):
        trainer(device="auto", devices=THREE).fit(toy.train, epochs=1, batch_size=2, progress=False)
    with pytest.raises(ConfigError, match="cannot be accumulated over parts or devices"):
        trainer(loss="triplet", metrics=[], device="auto", devices=TWO, schedule=None).train_on_batch(*toy.train)
    model = pm.Model(nn.Linear(5, 3), {"x": pm.TensorSpec((6, 5))}, ["y"])
    with pytest.raises(GraphError, match="fixed size cannot be cut"):
        trainer(model=model, device="auto", devices=TWO, schedule=None)
    loss = {"name": "cross_entropy", "reduction": "sum"}
    penalty = [{"match": "*.weight", "l2": 0.1}]
    with pytest.raises(TrainingError, match="once for each part"):
        trainer(loss=loss, regularizers=penalty, device="auto", devices=TWO, schedule=None).train_on_batch(*toy.train)
    inputs = {"x": pm.TensorSpec(("batch", 5))}
    with pytest.raises(ConfigError, match="a TrainStep runs on one device"):
        pm.TrainStep(
            {"m": toy.model()}, {"p": pm.Phase(lambda models, batch: nn.functional.mean(models.m(batch["x"])), train="m")}, inputs,
            backend="torch", device=TWO,  # type: ignore[arg-type]
        )


def test_one_device_in_a_list_is_that_device(trainer: Make, toy: Any) -> None:
    t = trainer(device="auto", devices=["cpu:3"], schedule=None)
    assert t.program.replicas is None
    assert t.train_on_batch(*toy.train) == trainer(schedule=None).train_on_batch(*toy.train)


def test_cuda_devices_share_a_batch(make: Make, backend: str) -> None:
    """All CUDA devices there are; one of them and the processor where there is but one."""
    there = [d for d in pm.get_backend(backend).devices() if d.startswith("cuda")]
    if not there:
        pytest.skip("no CUDA device")
    devices = there if len(there) > 1 else [*there, "cpu:0"]
    whole, spread = make(norm=False), make(devices=devices)
    for _ in range(2):
        assert spread.train_on_batch(X, Y) == pytest.approx(whole.train_on_batch(X, Y), rel=1e-4)
    for name, value in state(whole).items():
        np.testing.assert_allclose(state(spread)[name], value, rtol=1e-3, atol=1e-4, err_msg=name)
    np.testing.assert_allclose(spread.predict(X, batch_size=4), whole.predict(X, batch_size=4), rtol=1e-3, atol=1e-3)
