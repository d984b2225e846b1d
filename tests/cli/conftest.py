"""Running commands: most of them in this process, as typer does it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from polymodel.cli.app import app

Command = Callable[..., "Outcome"]

_NET = """
import polymodel as pm

def build(seed, width=4):
    layers = pm.nn.Sequential(pm.nn.Linear(3, width), pm.nn.ReLU(), pm.nn.Dropout(0.1), pm.nn.Linear(width, 2))
    return pm.Model(layers, {"x": pm.TensorSpec(("batch", 3))}, ["logits"], seed=seed)

def wrong():
    return 3
"""

_CONFIG = """
model:
  factory: net.py:build
  args: {width: 5}
data: {source: data.npz, validation: 0.25, test: 0.1}
metrics: [accuracy]
optimizer: {name: adam, lr: 1e-2}
epochs: 3
batch_size: 8
backend: torch
device: cpu
checkpoint: {best: val_loss, keep: 2}
"""


class Outcome:
    """What a command did.

    Attributes:
        code: exit code.
        out: standard output.
        err: standard error.
    """

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        """The one document on standard output."""
        return json.loads(self.out)


@pytest.fixture
def polymodel(monkeypatch: pytest.MonkeyPatch) -> Command:
    """polymodel("train", path, ...) -> Outcome."""
    monkeypatch.delenv("POLYMODEL_BACKEND", raising=False)

    def run(*arguments: object) -> Outcome:
        done = CliRunner().invoke(app, [str(a) for a in arguments])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Outcome(done.exit_code, done.stdout, done.stderr)

    return run


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with net.py, data.npz (48 samples) and config.yaml."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 48)
    x = (rng.standard_normal((48, 3)) + 2 * y[:, None]).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, target=y)
    (tmp_path / "net.py").write_text(_NET)
    (tmp_path / "config.yaml").write_text(_CONFIG)
    return tmp_path
