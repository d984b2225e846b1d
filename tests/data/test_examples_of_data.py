"""The examples that read images learn in their quick profiles, on every backend."""

from __future__ import annotations

import csv
import runpy
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from polymodel.cli.training_run import run
from polymodel.config.experiment import build_data, build_model, build_trainer
from polymodel.config.file import read
from tests.installed import NAMES, installed

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(params=NAMES)
def backend(request: pytest.FixtureRequest) -> str:
    return installed(str(request.param))


def play(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_vgg_on_records(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line for each batch, a checkpoint for each epoch."""
    play(monkeypatch, "vgg_records.py", "--quick", "--backend", backend, "--output", str(tmp_path))
    with (tmp_path / "run" / "history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert float(rows[-1]["val_accuracy"]) > 0.9
    log = (tmp_path / "run" / "log.txt").read_text()
    assert sum("batch " in line for line in log.splitlines()) == 3 * 16
    saved = sorted(p.name for p in (tmp_path / "run" / "checkpoints").glob("step-*"))
    assert saved == [f"step-{16 * (i + 1):08d}" for i in range(3)]


@pytest.mark.parametrize(("backend", "loader"), [*((name, "polymodel") for name in NAMES), ("mxnet", "torch")])
def test_resnet_from_a_loader(
    backend: str, loader: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (backend, loader) if loader == "torch" else (backend,):
        installed(name)
    play(monkeypatch, "resnet_loader.py", "--quick", "--epochs", "3", "--backend", backend, "--loader", loader)
    last = capsys.readouterr().out.splitlines()[-1]
    assert float(last.split()[2]) > 0.8, last


@pytest.mark.parametrize(
    ("name", "changes"), [("fashion_mnist", []), ("fashion_mnist_resnet18", ["batch_size=16", "model.args.width=8"])]
)
def test_fashion_mnist(backend: str, name: str, changes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configurations with files of another content, whose classes are a bright row each."""
    rng = np.random.default_rng(0)
    for stem, count in (("train", 640), ("t10k", 100)):
        labels = rng.integers(0, 10, count).astype(np.uint8)
        images = rng.integers(0, 60, (count, 28, 28)).astype(np.uint8)
        images[np.arange(count), 4 + 2 * labels] = 250
        head = struct.pack(">4B3I", 0, 0, 8, 3, count, 28, 28)
        (tmp_path / f"{stem}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        (tmp_path / f"{stem}-labels-idx1-ubyte").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, count) + labels.tobytes())
    monkeypatch.setenv("POLYMODEL_FASHION_MNIST", str(tmp_path))
    config = read(EXAMPLES / f"{name}.yaml", ["epochs=4", "schedule.length=4", *changes])
    model = build_model(config)
    trainer = build_trainer(config, model, backend, "cpu")
    data = build_data(config, model)
    run(config, tmp_path / "run", trainer, data)
    assert trainer.history[-1]["val_accuracy"] > 0.9
