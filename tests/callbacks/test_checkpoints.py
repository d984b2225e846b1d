"""When checkpoints are written, which are kept, which is the best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polymodel.callbacks import Checkpoints
from polymodel.callbacks.checkpoints import best
from polymodel.errors import CheckpointError, ConfigError
from polymodel.training import checkpoint


def steps(folder: Path) -> list[int]:
    return [int(p.name.removeprefix("step-")) for p in checkpoint.complete(folder)]


def test_every_n_epochs_and_at_the_end(fit: Any, tmp_path: Path) -> None:
    fit([Checkpoints(tmp_path, every=2, keep=0)], epochs=5)
    assert steps(tmp_path) == [6, 12, 15]


def test_every_n_steps(fit: Any, tmp_path: Path) -> None:
    fit([Checkpoints(tmp_path, every=0, every_steps=2, keep=0)], epochs=2)
    assert steps(tmp_path) == [2, 4, 6]
    assert [checkpoint.load(p).record["batch"] for p in checkpoint.complete(tmp_path)] == [2, 1, 0]


def test_the_newest_are_kept(fit: Any, tmp_path: Path) -> None:
    fit([Checkpoints(tmp_path, keep=2)], epochs=5)
    assert steps(tmp_path) == [12, 15]


def test_the_best_is_kept_too(fit: Any, tmp_path: Path) -> None:
    """Loss falls all the time, so its largest value is in the first epoch."""
    history = fit([Checkpoints(tmp_path, keep=1, best="val_loss", mode="max")], epochs=4)
    assert history["val_loss"] == sorted(history["val_loss"], reverse=True)
    assert steps(tmp_path) == [3, 12]
    assert best(tmp_path) == tmp_path / "step-00000003"


def test_the_best_alone(fit: Any, tmp_path: Path) -> None:
    fit([Checkpoints(tmp_path, every=0, best="val_loss", keep=1)], epochs=3)
    assert steps(tmp_path) == [9]
    assert best(tmp_path) == tmp_path / "step-00000009"


def test_the_best_survives_a_resumed_fit(fit: Any, tmp_path: Path) -> None:
    def saving() -> Checkpoints:
        return Checkpoints(tmp_path, keep=1, best="val_loss", mode="max")

    fit([saving()], epochs=2)
    (tmp_path / "best.json").unlink()  # killed between saving and marking
    fit([saving()], epochs=4, resume=tmp_path)
    assert steps(tmp_path) == [3, 12]
    assert best(tmp_path) == tmp_path / "step-00000003"


def test_no_best(tmp_path: Path) -> None:
    assert best(tmp_path) is None
    (tmp_path / "best.json").write_text("{")
    with pytest.raises(CheckpointError, match="delete it"):
        best(tmp_path)


def test_leavings_of_a_killed_process_go(fit: Any, tmp_path: Path) -> None:
    (tmp_path / ".partial-step-00000003-0123").mkdir(parents=True)
    fit([Checkpoints(tmp_path)], epochs=1)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000003"]


@pytest.mark.parametrize("options", [{"every": -1}, {"every_steps": 1.5}, {"keep": True}])
def test_impossible_values(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        Checkpoints("unused", **options)
