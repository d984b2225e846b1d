"""What is written down: the CSV file, lines of text, the progress bar."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from polymodel.callbacks import Checkpoints, CSVLog, Lines, Progress, StepLines
from polymodel.errors import ConfigError


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_csv_file_is_the_history(fit: Any, tmp_path: Path) -> None:
    history = fit([CSVLog(tmp_path / "a/log.csv")], epochs=3, validate_every=2)
    found = read(tmp_path / "a/log.csv")
    assert [{k: float(v) for k, v in row.items() if v} for row in found] == list(history)
    assert [bool(row["val_loss"]) for row in found] == [False, True, True]
    assert list(found[0]) == ["epoch", "step", "lr", "loss", "accuracy", "val_loss", "val_accuracy", "seconds"]


def test_a_resumed_csv_file_has_all_rows(fit: Any, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    fit([CSVLog(log), Checkpoints(tmp_path / "c")], epochs=2)
    history = fit([CSVLog(log)], epochs=4, resume=tmp_path / "c")
    assert [float(r["loss"]) for r in read(log)] == history["loss"]
    assert len(history) == 4


def test_a_line_an_epoch(fit: Any) -> None:
    lines: list[str] = []
    fit([Lines(lines.append)], epochs=2)
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert "val_accuracy" in lines[0]


def test_a_line_for_some_steps(fit: Any) -> None:
    """Means up to the last step whose loss has been read; at the epoch's end those of all."""
    lines: list[str] = []
    fit([StepLines(lines.append)], epochs=2)
    parts = [line.split("  ") for line in lines]
    assert [p[:2] for p in parts] == [[f"epoch {e}/2", f"batch {b}/3"] for e in (1, 2) for b in (1, 2, 3)]
    assert parts[2][2].endswith(" steps/s")
    assert len(parts[2]) == 5
    several: list[str] = []
    fit([StepLines(several.append, 2)], epochs=2, steps_per_execution=3)
    assert ["batch 3/3" in line for line in several] == [True, True]
    with pytest.raises(ConfigError, match="every must be an integer of 1 or more, received 0"):
        StepLines(lines.append, 0)


def test_the_bar_shows_on_a_terminal_only(fit: Any) -> None:
    terminal, pipe = io.StringIO(), io.StringIO()
    fit([Progress(Console(file=terminal, force_terminal=True, width=140))], epochs=2)
    fit([Progress(Console(file=pipe, force_terminal=False))], epochs=2)
    assert "epoch 2/2" in terminal.getvalue()
    assert "6/6" in terminal.getvalue()
    assert "val_loss" in terminal.getvalue()
    assert pipe.getvalue() == ""
