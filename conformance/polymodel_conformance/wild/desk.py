"""A process that exports and judges: ``python -m polymodel_conformance.wild.desk FRAMEWORK``; and its caller's side.

Exporters crash and hang; the script that did it gets the blame, and the next one a new process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any, final

from polymodel_conformance.wild.judge import CRASH, Judge
from polymodel_conformance.workers.client import surroundings
from polymodel_conformance.workers.wire import Closed, Late, Wire

_START, _ANSWER = 300.0, 240.0
_SETTINGS = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
_VERSIONS = ("onnx", "onnxruntime", "onnxscript", "numpy", "keras", "torch", "tensorflow", "tf2onnx")


@final
class Desk:
    """The caller's side.

    Args:
        framework: "torch" or "tensorflow".
        packages: a folder of packages that are looked up last, for exporters that are not installed here.
    """

    def __init__(self, framework: str, packages: Path | None = None) -> None:
        self._framework = framework
        self._path = str(packages) if packages else ""
        self._process: subprocess.Popen[bytes] | None = None
        self._wire: Wire | None = None
        self.versions: dict[str, str] = {}

    def judge(self, script: str, file: Path, other: Path | None) -> list[dict[str, Any]]:
        """Ask for the judgement of a script."""
        try:
            wire = self._started()
            wire.send({"script": script, "file": str(file), "other": str(other) if other else None}, {})
            header, _ = wire.receive(_ANSWER)
        except Closed:
            return [{"outcome": CRASH, "why": self._ended()}]
        except Late:
            self.close()
            return [{"outcome": CRASH, "why": f"no answer within {_ANSWER:g} s"}]
        found: list[dict[str, Any]] = header["found"]
        return found

    def _started(self) -> Wire:
        if self._wire is not None:
            return self._wire
        roots = [p for p in sys.path if p]
        environment = surroundings() | _SETTINGS
        environment |= {"KERAS_BACKEND": self._framework, "PYTHONPATH": os.pathsep.join([*roots, self._path])}
        command = [sys.executable, "-W", "ignore", "-m", "polymodel_conformance.wild.desk", self._framework]
        with tempfile.TemporaryFile() as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._wire = Wire(self._process.stdout.fileno(), self._process.stdin.fileno())
        self.versions, _ = self._wire.receive(_START)
        return self._wire

    def _ended(self) -> str:
        assert self._process is not None
        code = self._process.wait()
        self.close()
        return f"the process ended with {signal.Signals(-code).name if code < 0 else f'code {code}'}"

    def close(self) -> None:
        """End the process."""
        process, self._process, self._wire = self._process, None, None
        if process is not None:
            process.kill()
            process.communicate()


def main() -> None:
    """Serve one connection."""
    wire = Wire(0, os.dup(1))
    os.dup2(2, 1)
    wire.send(_versions(), {})
    judge = Judge()
    while True:
        try:
            header, _ = wire.receive()
        except Closed:
            judge.close()
            return
        other = Path(header["other"]) if header["other"] else None
        wire.send({"found": judge(header["script"], Path(header["file"]), other)}, {})


def _versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for name in _VERSIONS:
        if name in {"torch": ("tensorflow", "tf2onnx"), "tensorflow": ("torch", "onnxscript")}[sys.argv[1]]:
            continue
        try:
            found[name] = str(import_module(name).__version__)
        except ImportError:
            found[name] = "not installed"
    return found


if __name__ == "__main__":
    main()
