"""kill -9 at random moments of a run that saves all the time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

KILLS = 50
WIDTH = int(os.environ.get("POLYMODEL_KILL_WIDTH", "8"))
"""Width of the network: 4000 makes checkpoints of about 0.5 MB, so that more kills hit the middle of a file."""


def test_the_newest_checkpoint_loads_and_the_run_ends_bit_equal(tmp_path: Path) -> None:
    script = Path(__file__).with_name("killed_run.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), str(KILLS), "0", str(WIDTH)],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert re.search(rf"killed {KILLS} times in \d+ runs, each ended at step 480 with the same bits", done.stdout)
