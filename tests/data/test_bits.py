"""Every backend trains on the same bits: order, augmentation and resumption do not depend on who trains."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polymodel as pm
from polymodel import nn
from polymodel.callbacks import Checkpoints, Lambda
from polymodel.data import Loader, RecordDataset, write_images
from polymodel.errors import CheckpointError
from tests.installed import NAMES, installed

CHAIN: list[Any] = [
    {"random_resized_crop": {"size": 10}},
    {"random_crop": {"size": 8, "padding": 2}},
    "mirror",
    "flip",
    {"rotate": {"degrees": 25}},
    {"color_jitter": {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3}},
    {"normalize": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.25]}},
]
EPOCHS, BATCH = 2, 8


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("records") / "a.rec"
    sizes = rng.integers(12, 20, (30, 2))
    write_images(path, ((rng.integers(0, 256, (*s, 3), np.uint8), i % 3) for i, s in enumerate(sizes)), "JPEG")
    return path


def make(backend: str) -> pm.Trainer:
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(144, 3))
    model = pm.Model(layers, {"x": pm.TensorSpec(("batch", 3, 8, 8))}, ["logits"])
    schedule = {"name": "cosine", "length": 4}
    optimizer = {"name": "adam", "lr": 1e-3, "ema": 0.9}
    return pm.Trainer(model, "cross_entropy", optimizer, ["accuracy"], schedule=schedule, backend=backend, device="cpu", seed=11)


def loader(records: Path, **options: Any) -> Loader:
    return Loader(RecordDataset(records), BATCH, transforms=CHAIN, **{"workers": 2, **options})


def watch(trainer: pm.Trainer) -> list[str]:
    """Hashes of everything that steps are fed from now on."""
    seen: list[str] = []
    step: Callable[..., Any] = trainer.program.train_step

    def watched(feeds: Any, **more: Any) -> Any:
        digest = hashlib.sha256()
        for name in sorted(feeds):
            digest.update(f"{name} {feeds[name].dtype} {feeds[name].shape}".encode() + feeds[name].tobytes())
        seen.append(digest.hexdigest())
        return step(feeds, **more)

    program: Any = trainer.program
    program.train_step = watched
    return seen


def state(trainer: pm.Trainer) -> dict[str, bytes]:
    program = trainer.program
    return {n: a.tobytes() for n, a in {**program.parameters, **program.buffers, **program.slots}.items()}


@pytest.fixture(scope="module")
def whole(records: Path) -> dict[str, list[str]]:
    """What each backend's steps are fed."""
    found = {}
    for name in NAMES:
        trainer = make(installed(name))
        found[name] = watch(trainer)
        trainer.fit(loader(records), epochs=EPOCHS, progress=False)
    return found


def test_all_backends_are_fed_the_same_bits(whole: dict[str, list[str]]) -> None:
    first = whole[NAMES[0]]
    assert len(first) == len(set(first)) == EPOCHS * 4
    for name in NAMES:
        assert whole[name] == first, name


@pytest.mark.parametrize("backend", NAMES)
@pytest.mark.parametrize("step", [2, 4, 5])
def test_a_resumed_fit_ends_with_the_same_bits(
    records: Path, whole: dict[str, list[str]], tmp_path: Path, backend: str, step: int
) -> None:
    """Stopped in the middle of an epoch and at its end, gone on with another number of workers."""
    full = make(backend)
    full.fit(loader(records), epochs=EPOCHS, callbacks=[Checkpoints(tmp_path, every_steps=1, keep=0)], progress=False)
    resumed = make(backend)
    seen = watch(resumed)
    resumed.fit(loader(records, workers=0), epochs=EPOCHS, resume=tmp_path / f"step-{step:08d}", progress=False)
    assert seen == whole[backend][step:]
    assert state(resumed) == state(full)
    assert [r["loss"] for r in resumed.history] == [r["loss"] for r in full.history]


def test_epochs_of_other_lengths_than_a_pass(records: Path, whole: dict[str, list[str]]) -> None:
    trainer = make("torch")
    seen = watch(trainer)
    trainer.fit(loader(records), epochs=4, steps_per_epoch=2, progress=False)
    assert seen == whole["torch"]


def test_a_middle_of_another_cut_is_refused(records: Path, tmp_path: Path) -> None:
    trainer = make("torch")
    trainer.fit(loader(records), epochs=1, callbacks=[Checkpoints(tmp_path, every_steps=3)], progress=False)
    with pytest.raises(CheckpointError, match="in the middle of an epoch with shuffle=True, this fit has shuffle=False"):
        make("torch").fit(loader(records, shuffle=False), epochs=1, resume=tmp_path / "step-00000003", progress=False)


def test_a_loss_that_is_not_finite_is_explained(records: Path) -> None:
    """The batch is made again for it."""
    trainer = make("torch")
    with pytest.raises(pm.errors.NonFiniteLoss, match="not finite") as caught:
        trainer.fit(loader(records), epochs=1, progress=False, callbacks=[Lambda(on_step=lambda fit: broken(fit.trainer))])
    assert "cannot be had again" not in str(caught.value)


def broken(trainer: pm.Trainer) -> None:
    if trainer.step == 2:
        values = trainer.program.parameters
        trainer.program.parameters = {n: np.full_like(v, np.inf) for n, v in values.items()}
