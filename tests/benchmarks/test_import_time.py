"""`import polymodel` is quick and brings no framework."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys, time
start = time.perf_counter()
import polymodel
print(time.perf_counter() - start)
print(sorted({"torch", "tensorflow", "mxnet", "keras", "onnxruntime"} & set(sys.modules)))
"""
LIMIT = 0.3  # seconds


def test_import_polymodel() -> None:
    """The best of five processes, the first of which may have to read the disk."""
    times = []
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
        seconds, frameworks = done.stdout.split(maxsplit=1)
        assert frameworks.strip() == "[]"
        times.append(float(seconds))
    print(f"import polymodel: {min(times):.3f} s")
    assert min(times) < LIMIT
