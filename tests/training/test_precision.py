"""Training in float16 and bfloat16: float32 parameters, the scale of the loss, what a backend does without kernels."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polymodel as pm
from polymodel import nn
from polymodel.callbacks import Checkpoints
from polymodel.config.run import check
from polymodel.errors import ConfigError, PrecisionWarning, Unsupported
from polymodel.training.precision import FINITE, LossScaling, Scaler, get_precision

TrainerMaker = Callable[..., pm.Trainer]
quiet = pytest.mark.filterwarnings("ignore::polymodel.errors.PrecisionWarning")


def state(t: Any) -> dict[str, bytes]:
    return {n: a.tobytes() for n, a in {**t.program.parameters, **t.program.buffers, **t.program.slots}.items()}


@quiet
@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_it_learns_as_float32_does(toy: Any, trainer: TrainerMaker, backend: str, half: str) -> None:
    plain, mixed = trainer(backend), trainer(backend, precision=half)
    for t in (plain, mixed):
        t.fit(toy.train, epochs=2, batch_size=16, validation=toy.held, progress=False)
    assert all(a.dtype == np.float32 for a in mixed.program.parameters.values())
    assert state(mixed) != state(plain)
    assert mixed.history["loss"][-1] == pytest.approx(plain.history["loss"][-1], rel=0.05)
    assert mixed.predict(toy.held[0]).dtype == np.float32


@quiet
def test_a_scale_changes_nothing_but_what_would_be_lost(toy: Any, trainer: TrainerMaker, backend: str) -> None:
    """Powers of two round nothing: in bfloat16, which loses nothing, a step with a scale is the step without, clipping included."""
    options: dict[str, Any] = {"clip": {"norm": 0.1}, "optimizer": pm.optim.SGD(0.1), "schedule": None}
    scaled, plain = (trainer(backend, precision={"name": "bfloat16", "loss_scale": s}, **options) for s in (1024, None))
    for t in (scaled, plain):
        t.train_on_batch(toy.train[0][:16], toy.train[1][:16])
    assert state(scaled) == state(plain)


@quiet
def test_a_gradient_that_is_not_finite_skips_the_step(toy: Any, trainer: TrainerMaker, backend: str) -> None:
    scale = {"init": 2.0**40, "interval": 2}
    t = trainer(backend, precision={"name": "float16", "loss_scale": scale}, optimizer={"name": "adam", "ema": 0.9}, schedule=None)
    before, scaler = state(t), t.program.scaler
    assert scaler is not None
    x, y = toy.train[0][:16], toy.train[1][:16]
    seen = []
    while scaler.skipped == t.step:
        assert state(t) == before, "a skipped step changes nothing"
        seen.append(scaler.scale)
        assert np.isfinite(t.train_on_batch(x, y)["loss"])
    assert seen == [2.0 ** (40 - i) for i in range(len(seen))]
    assert len(seen) > 5
    assert state(t) != before
    t.train_on_batch(x, y)
    assert (scaler.scale, scaler.good) == (2 * seen[-1], 0), "two good steps double it"


@quiet
def test_parts_of_a_batch_are_skipped_together(toy: Any, trainer: TrainerMaker, backend: str) -> None:
    t = trainer(backend, precision={"name": "float16", "loss_scale": {"init": 2.0**30}}, accumulate=2, schedule=None)
    before, scaler = state(t), t.program.scaler
    assert scaler is not None
    t.train_on_batch(toy.train[0][:16], toy.train[1][:16])
    assert (scaler.skipped, scaler.good) == (1, 0)
    assert {n: a for n, a in state(t).items() if "running" not in n} == {n: a for n, a in before.items() if "running" not in n}


@quiet
def test_the_scale_is_in_the_checkpoint(toy: Any, trainer: TrainerMaker, backend: str, tmp_path: Path) -> None:
    precision = {"name": "float16", "loss_scale": {"init": 2.0**24, "interval": 3}}
    whole = trainer(backend, precision=precision)
    whole.fit(toy.train, epochs=2, batch_size=16, callbacks=[Checkpoints(tmp_path, every_steps=1, keep=0)], progress=False)
    again = trainer(backend, precision=precision)
    again.fit(toy.train, epochs=2, batch_size=16, resume=tmp_path / "step-00000007", progress=False)
    assert state(again) == state(whole)
    assert again.program.scaler is not None
    assert whole.program.scaler is not None
    assert again.program.scaler.to_json() == whole.program.scaler.to_json()
    plain = trainer(backend)
    plain.load_checkpoint(tmp_path)
    assert state(plain) == state(whole), "float32 goes on from float16"


@quiet
def test_each_phase_has_its_scale(backend: str) -> None:
    x = {"x": pm.TensorSpec(("batch", 4))}
    models = {n: pm.Model(nn.Linear(4, 3), x, ["y"]) for n in "ab"}
    phases = {
        "a": pm.Phase(lambda m, b: nn.functional.mean(m.a(b["x"])), "a"),
        "b": pm.Phase(lambda m, b: nn.functional.mean(m.b(b["x"])) * 1e30, "b"),
    }
    step = pm.TrainStep(models, phases, x, backend=backend, device="cpu", precision="float16")
    step.train_on_batch(np.ones((2, 4), np.float32))
    assert [s.skipped for s in step.program.scalers] == [0, 1]


@pytest.mark.parametrize(
    ("name", "half", "words"),
    [
        ("mxnet", "bfloat16", "it holds bfloat16 in float32 and rounds what every operator returns"),
        ("mxnet", "float16", "it computes products and convolutions in float32 and rounds what they return to float16"),
        ("tensorflow", "bfloat16", "it computes products and convolutions in float32 and rounds what they return to bfloat16"),
        ("tensorflow", "float16", "it computes products and convolutions in float32 and rounds what they return to float16"),
    ],
)
def test_a_backend_without_kernels_says_what_it_does_instead(trainer: TrainerMaker, name: str, half: str, words: str) -> None:
    with pytest.warns(PrecisionWarning, match=f"no {half} kernels on 'cpu'; {words}.* use precision='float32', or another backend"):
        trainer(name, precision=half)


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_what_pytorch_says_depends_on_the_processor(trainer: TrainerMaker, half: str) -> None:
    from polymodel_torch.compat import SLOW_HALVES

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        trainer("torch", precision=half)
    said = [str(w.message) for w in found if w.category is PrecisionWarning]
    assert len(said) == (half in SLOW_HALVES)
    assert all(f"rounds what they return to {half}" in words for words in said)


def test_a_backend_that_cannot_scale_refuses(toy: Any, trainer: TrainerMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    kind = type(pm.get_backend("torch"))
    less = replace(pm.get_backend("torch").capabilities(), loss_scaling=False)
    monkeypatch.setattr(kind, "capabilities", lambda self: less)
    with pytest.raises(Unsupported, match="cannot scale losses: use precision='bfloat16' or 'float32'"):
        trainer(precision="float16")


def test_a_scaler_counts() -> None:
    scaler = Scaler(LossScaling(8.0, 2.0, 0.25, 2))
    seen = []
    for word in (1, 1, 1, 0, 1, 1):
        assert scaler.settle({"loss": 1.0, FINITE: float(word)}) == {"loss": 1.0}
        seen.append((scaler.scale, scaler.good, scaler.skipped))
    assert seen == [(8.0, 1, 0), (16.0, 0, 0), (16.0, 1, 0), (4.0, 0, 1), (4.0, 1, 1), (8.0, 0, 1)]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("half", "expected one of float32, float16, bfloat16, received 'half'"),
        ({"name": "float16", "scale": 2}, "precision.scale: unknown key"),
        ({"name": "float32", "loss_scale": 2}, "float32 needs no loss scale"),
        ({"name": "float16", "loss_scale": "big"}, "expected a number or a mapping, received 'big'"),
        ({"name": "float16", "loss_scale": {"grow": 2}}, "precision.loss_scale.grow: unknown key; valid keys: init, growth"),
        ({"name": "float16", "loss_scale": {"backoff": 2.0}}, "loss_scale.backoff must be finite and in"),
        ({"name": "float16", "loss_scale": {"interval": 0}}, "loss_scale.interval is an integer of 1 or more, received 0"),
    ],
)
def test_words_that_mean_nothing_are_refused(spec: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        get_precision(spec)
    with pytest.raises(ConfigError, match="precision"):
        check({"model": {"name": "mlp"}, "data": {"source": "a.npz"}, "precision": spec})
