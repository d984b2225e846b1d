"""The test suite of the onnx package, run on a backend through the onnx package's own interface.

Every test of the suite counts: one that is skipped or that raises is not passed. Values are compared by the suite's own
comparer; element types that NumPy does not compute with (float8, 4-bit and smaller) are converted to float32 first.

A child process runs the tests of one backend; when a test kills it, that test has crashed and another child goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import subprocess
import sys
import unittest
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, final

import ml_dtypes
import numpy as np
from onnx.backend.test import BackendTest
from onnx.backend.test.loader import load_model_tests

KINDS = ("node", "real", "simple", "pytorch-converted", "pytorch-operator")
COUNT = 2033
"""Tests of onnx 1.23 on the CPU."""
_SMALL = frozenset(n for n in dir(ml_dtypes) if n.startswith(("float8", "float4", "float6", "int2", "int4", "uint2", "uint4")))


@final
@dataclass(frozen=True)
class TestResult:
    """What came of one test.

    Attributes:
        name: as in the suite, without the device.
        outcome: "pass", "fail" (other values), "error", "crash" or "hang".
        reason: first line of what was raised.
        host: operators that ran on the host.
    """

    name: str
    outcome: str
    reason: str = ""
    host: tuple[str, ...] = ()
    seconds: float = 0.0


@final
@dataclass
class SuiteReport:
    """All tests of one backend."""

    backend: str
    corpus: str
    results: list[TestResult] = field(default_factory=list)

    @property
    def passed(self) -> list[TestResult]:
        """Tests that passed."""
        return [r for r in self.results if r.outcome == "pass"]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"backend": self.backend, "corpus": self.corpus, "results": [asdict(r) for r in self.results]}


@final
class Suite(BackendTest):
    """The suite with its comparer; small element types are compared as float32."""

    @classmethod
    def assert_similar_outputs(
        cls, ref_outputs: Sequence[Any], outputs: Sequence[Any], rtol: float, atol: float, model_dir: str | None = None
    ) -> None:
        np.testing.assert_equal(len(outputs), len(ref_outputs))
        for got, want in zip(outputs, ref_outputs, strict=True):
            small = getattr(getattr(want, "dtype", None), "name", "") in _SMALL
            if small:
                np.testing.assert_equal(got.dtype, want.dtype)
                got, want = got.astype(np.float32), want.astype(np.float32)
            super().assert_similar_outputs([want], [got], rtol, atol, model_dir)


def corpus_hash() -> str:
    """Hash of the names and models of all tests: two reports with the same hash ran the same tests."""
    digest = hashlib.sha256()
    for kind in KINDS:
        for test in load_model_tests(kind=kind):
            digest.update(f"{kind}/{test.name}".encode())
            if test.model is not None:
                digest.update(test.model.SerializeToString(deterministic=True))
    return digest.hexdigest()[:16]


def run_suite(
    backend: str, match: str = "", names: Sequence[str] | None = None, timeout: float = 120.0, python: str | None = None
) -> Iterator[TestResult]:
    """Run the suite on a backend, test by test.

    Args:
        backend: a registered name.
        match: only tests whose name contains it.
        names: only these tests; all when None.
        timeout: seconds for one test.
        python: interpreter of the child.
    """
    done: list[str] = []
    while True:
        with _child(backend, match, names, done, python) as child:
            current = ""
            for message in _messages(child, timeout):
                if message["kind"] == "end":
                    return
                if message["kind"] == "begin":
                    current = message["name"]
                    done.append(current)
                    continue
                current = ""
                yield TestResult(**{**message["result"], "host": tuple(message["result"]["host"])})
            hung = child.poll() is None
            child.kill()
            child.wait()
        if not current:
            raise RuntimeError(f"the child of backend {backend!r} ended with code {child.returncode} outside a test")
        why = f"no answer in {timeout:.0f} s" if hung else f"exit code {child.returncode}"
        yield TestResult(current, "hang" if hung else "crash", why)


@contextlib.contextmanager
def _child(
    backend: str, match: str, names: Sequence[str] | None, done: Sequence[str], python: str | None
) -> Iterator[subprocess.Popen[bytes]]:
    task = json.dumps({"backend": backend, "match": match, "names": names, "done": list(done)})
    command = [python or sys.executable, "-W", "ignore", "-m", "polymodel_conformance.official_suite"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    assert child.stdin is not None
    child.stdin.write(task.encode())
    child.stdin.close()
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def _messages(child: subprocess.Popen[bytes], timeout: float) -> Iterator[dict[str, Any]]:
    assert child.stdout is not None
    number, rest = child.stdout.fileno(), b""
    while select.select([number], [], [], timeout)[0]:
        piece = os.read(number, 1 << 16)
        if not piece:
            return
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"{"):
                yield json.loads(line)


def _serve(task: dict[str, Any]) -> None:
    import time

    from polymodel.onnx_interface import onnx_backend

    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    host: list[str] = []
    base = onnx_backend(task["backend"])

    def prepare(model: Any, device: str = "CPU", **kwargs: Any) -> Any:
        rep: Any = base.prepare(model, device, **kwargs)
        run = rep.run

        def recorded(inputs: Any, **more: Any) -> Any:
            found = run(inputs, **more)
            host[:] = sorted(getattr(rep.program, "host_operators", ()))
            return found

        rep.run = recorded
        return rep

    judged = type("Judged", (base,), {"prepare": staticmethod(prepare)})
    suite = Suite(judged, __name__)
    chosen, skip = task["names"] and set(task["names"]), set(task["done"])
    for items in suite._test_items.values():
        for full, item in items.items():
            name = full.removesuffix("_cpu")
            if full.endswith("_cuda") or name in skip or task["match"] not in name:
                continue
            if chosen and name not in chosen:
                continue
            print(json.dumps({"kind": "begin", "name": name}), file=out, flush=True)
            host.clear()
            start = time.perf_counter()
            outcome, reason = "pass", ""
            try:
                item.func(unittest.TestCase())
            except AssertionError as error:
                outcome, reason = "fail", _line(error)
            except BaseException as error:  # a test that raises or skips anything is not passed
                outcome, reason = "error", f"{type(error).__name__}: {_line(error)}"
            result = TestResult(name, outcome, reason, tuple(host), round(time.perf_counter() - start, 4))
            print(json.dumps({"kind": "result", "result": asdict(result)}), file=out, flush=True)
    print(json.dumps({"kind": "end"}), file=out, flush=True)


def _line(error: BaseException) -> str:
    return " | ".join(line.strip() for line in str(error).splitlines() if line.strip())[:400]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    _serve(json.load(sys.stdin))
