"""The NVIDIA GPUs of this machine, as the driver lists them; no framework is asked."""

from __future__ import annotations

import shutil
import subprocess
from functools import lru_cache


@lru_cache(maxsize=1)
def gpus() -> list[tuple[str, int]]:
    """NVIDIA GPUs by nvidia-smi: name, and compute capability times 10."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = [program, "--query-gpu=name,compute_cap", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.rsplit(",", 1) for line in done.stdout.splitlines() if "," in line]
    return [(name.strip(), round(10 * float(capability))) for name, capability in rows]


def sm(capability: int) -> str:
    """The name of a kind of GPU: "sm_86" of 86."""
    return f"sm_{capability}"
