"""Bad input: each has its clear error, and neither parameters nor files are touched."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polymodel as pm
from polymodel.callbacks import Checkpoints, CSVLog, EarlyStopping
from polymodel.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DeviceUnavailable,
    GraphError,
    ShapeError,
    TrainingError,
    UnknownBackend,
)

TrainerMaker = Callable[..., pm.Trainer]


def bad_data(x: np.ndarray, y: np.ndarray) -> dict[str, tuple[Any, type[Exception], str]]:
    """Name -> (data, error, message)."""
    wrong = y.copy()
    wrong[17] = 3
    return {
        "wrong shape": ((x[:, :4], y), ShapeError, r"'x': expected float32\[batch, 5\], received shape \(90, 4\)"),
        "wrong rank": ((x[0], y[:5]), ShapeError, "expected 2 axes"),
        "wrong dtype": ((x.astype(np.float64), y), DataError, "'x' is float64, expected float32: convert it with"),
        "float labels": ((x, y.astype(np.float32)), DataError, "'target' is float32, expected int64"),
        "label out of range": ((x, wrong), DataError, "label 3 of sample 17 is out of range"),
        "negative label": ((x, y - 1), DataError, "label -1 of sample"),
        "empty": ((x[:0], y[:0]), DataError, "the data set is empty"),
        "different lengths": ((x, y[:80]), DataError, "different numbers of samples: 'x' has 90, 'target' has 80"),
        "unknown input": (({"z": x}, y), DataError, "the model has no input 'z'; its inputs are x"),
        "text": ((np.array([["a"] * 5] * 90), y), DataError, "expected float32"),
        "a number": ((np.float32(1), y), DataError, "is a single number, expected samples"),
        "no pair": (x, ConfigError, "a pair of inputs and targets"),
    }


def state(trainer: pm.Trainer) -> dict[str, bytes]:
    """The bits of everything that training changes."""
    program = trainer.program
    return {n: a.tobytes() for n, a in {**program.parameters, **program.buffers, **program.slots}.items()}


@pytest.mark.parametrize("case", bad_data(np.zeros((90, 5), np.float32), np.zeros(90, np.int64)))
def test_data_that_does_not_fit(toy: Any, trainer: TrainerMaker, tmp_path: Path, case: str) -> None:
    data, error, match = bad_data(*toy.train)[case]
    t = trainer()
    before = state(t)
    watched = [CSVLog(tmp_path / "run/log.csv"), Checkpoints(tmp_path / "run/checkpoints")]
    with pytest.raises(error, match=match):
        t.fit(data, epochs=1, callbacks=watched, progress=False)
    with pytest.raises(error, match=match):
        t.fit(toy.train, epochs=1, validation=data, callbacks=watched, progress=False)
    with pytest.raises(error, match=match):
        t.evaluate(data)
    if isinstance(data, tuple):
        with pytest.raises(error, match=match):
            t.train_on_batch(*data)
    assert state(t) == before
    assert (t.step, t.epoch) == (0, 0)
    assert list(tmp_path.iterdir()) == []


def test_labels_of_a_smaller_dtype_are_taken(toy: Any, trainer: TrainerMaker) -> None:
    t, u = trainer(), trainer()
    t.fit((toy.train[0], toy.train[1].astype(np.uint8)), epochs=1, progress=False)
    u.fit(toy.train, epochs=1, progress=False)
    assert t.history["loss"] == u.history["loss"]


def test_predict_refuses_what_it_cannot_use(toy: Any, trainer: TrainerMaker) -> None:
    t = trainer()
    with pytest.raises(ShapeError, match="received shape"):
        t.predict(toy.train[0][:, :3])
    with pytest.raises(DataError, match="empty"):
        t.predict(toy.train[0][:0])


# -- words -------------------------------------------------------------------------------------------------------------


def test_an_unknown_backend(trainer: TrainerMaker) -> None:
    with pytest.raises(UnknownBackend, match="unknown backend 'pytorch'; registered are torch, tensorflow, mxnet"):
        trainer("pytorch")


@pytest.mark.parametrize("name", ["torch", "tensorflow", "mxnet"])
def test_a_backend_that_is_not_installed(name: str) -> None:
    code = f"""
import sys
sys.modules[{name!r}] = None  # the import system's own way to say that there is no such module
import polymodel as pm
try:
    pm.get_backend({name!r})
except pm.errors.BackendUnavailable as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.search(rf"pip install .*\[{name}\]", done.stdout), done


def test_no_backend_at_all() -> None:
    code = """
import sys
sys.modules.update(torch=None, tensorflow=None, mxnet=None)
from polymodel import errors, registry
try:
    registry.choose_backend()
except errors.BackendUnavailable as error:
    print(error)
"""
    environment = {n: v for n, v in os.environ.items() if n != "POLYMODEL_BACKEND"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert "no backend is usable" in done.stdout


def test_a_device_that_is_not_here(trainer: TrainerMaker, backend: str) -> None:
    with pytest.raises(DeviceUnavailable, match="cuda:9"):
        trainer(backend, device="cuda:9")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"loss": "crossentropy"}, "unknown loss 'crossentropy'"),
        ({"optimizer": "adm"}, "did you mean 'adam'"),
        ({"optimizer": {"name": "adam", "lrr": 1}}, "optimizer.lrr: unknown key; did you mean 'lr'"),
        ({"metrics": ["acc"]}, "unknown metric 'acc'"),
        ({"schedule": {"name": "cosine"}}, "schedule.length: missing"),
        ({"clip": {"norms": 1.0}}, "clip.norms: unknown key; did you mean 'norm'"),
        ({"optimizer": {"name": "sgd", "lr": -1}}, "lr must be finite"),
    ],
)
def test_words_that_mean_nothing(trainer: TrainerMaker, change: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        trainer(**change)


def test_nothing_to_train(toy: Any, trainer: TrainerMaker) -> None:
    model = toy.model()
    model.freeze("*")
    with pytest.raises(GraphError, match="no parameter to train"):
        trainer(model=model)


@pytest.mark.parametrize("callback", [EarlyStopping("val_los"), Checkpoints("unused", best="val_los")])
def test_a_column_that_no_epoch_has(toy: Any, trainer: TrainerMaker, callback: Any) -> None:
    with pytest.raises(ConfigError, match="nothing is called 'val_los'; did you mean 'val_loss'"):
        trainer().fit(toy.train, epochs=1, validation=toy.held, callbacks=[callback], progress=False)
    assert not Path("unused").exists()


# -- folders -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder that may not be written; a superuser, whom nothing stops, becomes nobody meanwhile."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    superuser = os.geteuid() == 0
    if superuser:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if superuser:
            os.seteuid(0)
        folder.chmod(0o755)
        assert list(folder.iterdir()) == []
        folder.rmdir()


def test_a_read_only_folder(toy: Any, trainer: TrainerMaker, read_only: Path) -> None:
    t = trainer()
    with pytest.raises(CheckpointError, match=r"cannot make folder .*: choose one that is writable"):
        t.fit(toy.train, epochs=1, callbacks=[Checkpoints(read_only / "c")], progress=False)
    with pytest.raises(TrainingError, match=r"cannot write .*log.csv.*choose a writable path"):
        t.fit(toy.train, epochs=1, callbacks=[CSVLog(read_only / "log.csv")], progress=False)
    with pytest.raises(CheckpointError, match="cannot write checkpoint"):
        t.save_checkpoint(read_only / "c")
    assert t.step == 0


def test_a_full_disk(toy: Any, trainer: TrainerMaker) -> None:
    with pytest.raises(TrainingError, match="No space left on device"):
        trainer().fit(toy.train, epochs=1, callbacks=[CSVLog("/dev/full")], progress=False)
