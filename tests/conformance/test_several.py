"""Runs side by side: what the table counts, and that a failing verdict on a correct backend is a false alarm."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from polymodel_conformance.reporting.several import rows, table
from polymodel_conformance.run import run
from polymodel_conformance.selection import Selection, UsageError


def several(*folders: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "polymodel_conformance.reporting.several", *map(str, folders)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_runs_with_different_seeds(tmp_path: Path) -> None:
    folders = [tmp_path / str(seed) for seed in range(2)]
    reports = [run(["torch"], "smoke", [3], folder, seed=seed, selection=Selection("adamw")) for seed, folder in enumerate(folders)]
    found = rows(folders)
    assert [row["seed"] for row in found] == [0, 1]
    assert [row["passed"] for row in found] == [len(r.results) for r in reports]
    assert all(0 < float(row["largest rho / limit"]) < 1 for row in found)
    done = several(*folders)
    assert done.returncode == 0
    assert done.stdout == table(found) + "\n"

    path = folders[1] / "report.json"
    data = json.loads(path.read_text())
    data["counts"]["torch"] = {"pass": len(reports[1].results) - 1, "fail": 1}
    path.write_text(json.dumps(data))
    assert rows(folders)[1]["failed"] == 1
    assert several(*folders).returncode == 1

    path.write_text(json.dumps({**data, "profile": "quick"}))
    with pytest.raises(UsageError, match="quick and smoke"):
        rows(folders)
    path.write_text(json.dumps({**data, "schema": "other"}))
    with pytest.raises(UsageError, match="'other', expected 'polymodel"):
        rows(folders)
    path.unlink()
    assert several(*folders).returncode == 2
