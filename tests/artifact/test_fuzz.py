"""Damaged files are refused or loaded, within a second and in little memory; nothing else happens, whatever the damage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("seed", [0, 2])
def test_damaged_models(seed: int) -> None:
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("fuzz.py")), str(seed), "700"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    words = done.stdout.split()
    assert float(words[3]) < 1, "seconds of the slowest file"
    assert int(words[4]) < 300_000, "KiB by which the memory grew"
    loaded, refused = int(words[1]), int(words[2])
    assert loaded + refused == 700
    assert loaded > 70, "nearly nothing was sound: the damage is too coarse to test much"
    assert refused > 200, "nearly nothing was refused"
