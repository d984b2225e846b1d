"""What a backend is here: found in a process of its own, so that frameworks cannot disturb each other or this one.

`python -m polymodel.cli.probe NAME` prints one JSON line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from polymodel.errors import PolymodelError
from polymodel.registry import get_backend

_MARK = "polymodel-probe "
_LIMIT = 180  # seconds; importing a framework from a cold disk takes tens of them


def describe(name: str) -> dict[str, Any]:
    """Load a backend in this process and describe it."""
    try:
        backend = get_backend(name)
        can = backend.capabilities()
        return {
            "name": name,
            "usable": True,
            "versions": backend.versions(),
            "devices": list(backend.devices()),
            "threads": backend.threads(),
            "dtypes": sorted(can.dtypes),
            "compile": ["auto", *sorted(can.compile)],
            "notes": list(can.notes),
            "operators": len(backend.table),
        }
    except PolymodelError as error:
        return {"name": name, "usable": False, "reason": str(error)}


def probe(names: Sequence[str]) -> list[dict[str, Any]]:
    """Describe backends, each in its own process, all at once."""
    with ThreadPoolExecutor(max_workers=max(1, len(names))) as pool:
        return list(pool.map(_ask, names))


def _ask(name: str) -> dict[str, Any]:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "polymodel.cli.probe", name],
            capture_output=True, text=True, timeout=_LIMIT, env=environment, check=False,
        )
    except subprocess.TimeoutExpired:
        return {"name": name, "usable": False, "reason": f"its framework did not load within {_LIMIT} s"}
    lines = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if lines:
        found: dict[str, Any] = json.loads(lines[-1].removeprefix(_MARK))
        return found
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    return {"name": name, "usable": False, "reason": f"the process ended with code {done.returncode}: {last}"}


if __name__ == "__main__":
    print(_MARK + json.dumps(describe(sys.argv[1])))
