"""kill -9 at random moments of a run that saves all the time: on every backend it ends with the bits of a run that nobody killed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

QUICK = {"torch": 20, "tensorflow": 2, "mxnet": 2}
"""Kills of `make test`; PyTorch's children are forked, the others load their framework each time."""
WIDTH = int(os.environ.get("POLYMODEL_KILL_WIDTH", "8"))
"""Width of the network: 4000 makes checkpoints of about 0.5 MB, so that more kills hit the middle of a file."""


def kill(backend: str, kills: int, folder: Path) -> None:
    script = Path(__file__).with_name("killed_run.py")
    done = subprocess.run(
        [sys.executable, str(script), backend, str(folder), str(kills), "0", str(WIDTH)],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert re.search(rf"killed {kills} times in \d+ runs, each ended at step 320 with the same bits", done.stdout)


def test_a_few_kills(backend: str, tmp_path: Path) -> None:
    kill(backend, QUICK[backend], tmp_path)


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_fifty_kills(backend: str, tmp_path: Path) -> None:
    kill(backend, 50, tmp_path)
