"""The suite as pytest items, in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "polymodel_conformance.plugin", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, "--rootdir", str(folder), "-v", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def test_cases_are_items(tmp_path: Path) -> None:
    done = run_pytest(
        tmp_path, "--backend", "torch", "--conformance-profile", "smoke", "--conformance-level", "3", "-k", "adam"
    )
    assert done.returncode == 0, done.stdout
    assert "torch::optimizers/adam/step1 PASSED" in done.stdout
    assert "4 passed, 4 deselected" in done.stdout


def test_no_case_is_an_error(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "--backend", "torch", "--conformance-level", "3", "--conformance-match", "no case is called this")
    assert done.returncode == 4
    assert "nothing would be judged" in done.stderr + done.stdout
