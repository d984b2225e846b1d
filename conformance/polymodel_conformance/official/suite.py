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
import tempfile
import unittest
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import IO, Any, final

import ml_dtypes
import numpy as np
from onnx.backend.test import BackendTest

from polymodel.errors import BackendUnavailable

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
@dataclass(frozen=True)
class Corpus:
    """What the installed onnx package has.

    Attributes:
        names: of all tests, without the device, in the order of the suite.
        hash: of names and models: two runs with the same hash had the same tests.
    """

    names: tuple[str, ...]
    hash: str


@final
class Suite(BackendTest):
    """The suite with its comparer; small element types are compared as float32.

    Args:
        backend: class with the interface of the onnx package.
        parent_module: of the test cases.
    """

    def __init__(self, backend: type[Any], parent_module: str | None = None) -> None:
        self._digest = hashlib.sha256()
        super().__init__(backend, parent_module)

    def _add_model_test(self, model_test: Any, kind: str) -> None:
        super()._add_model_test(model_test, kind)
        self._digest.update(f"{kind}/{model_test.name}".encode())
        if model_test.model is not None:
            self._digest.update(model_test.model.SerializeToString(deterministic=True))

    @property
    def items(self) -> dict[str, Any]:
        """Tests on the CPU by name."""
        every = {n: item for kind in self._test_items.values() for n, item in kind.items()}
        return {n.removesuffix("_cpu"): item for n, item in every.items() if n.endswith("_cpu")}

    @property
    def corpus(self) -> Corpus:
        """What there is to run."""
        return Corpus(tuple(self.items), self._digest.hexdigest()[:16])

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


def run_suite(
    backend: str,
    match: str = "",
    names: Sequence[str] | None = None,
    timeout: float = 120.0,
    python: str | None = None,
    begun: Callable[[Corpus], None] | None = None,
) -> Iterator[TestResult]:
    """Run the suite on a backend, test by test.

    Args:
        backend: a registered name.
        match: only tests whose name contains it.
        names: only these tests; all when None.
        timeout: seconds for one test.
        python: interpreter of the child.
        begun: called once, before the first test, with all that there is.

    Raises:
        BackendUnavailable: its framework cannot be imported, or there is no such interpreter.
    """
    done: list[str] = []
    while True:
        with _child(backend, match, names, done, python) as (child, words):
            current = ""
            for message in _messages(child, timeout):
                if message["kind"] == "end":
                    return
                if message["kind"] == "refused":
                    raise BackendUnavailable(message["why"])
                if message["kind"] == "corpus":
                    if begun is not None and not done:
                        begun(Corpus(tuple(message["names"]), message["hash"]))
                    continue
                if message["kind"] == "begin":
                    current = message["name"]
                    done.append(current)
                    continue
                current = ""
                yield TestResult(**{**message["result"], "host": tuple(message["result"]["host"])})
            hung = _hangs(child)
            last = _last_line(words)
        if not current:
            raise BackendUnavailable(f"the process of backend {backend!r} ended with code {child.returncode} outside a test: {last}")
        why = f"no answer in {timeout:.0f} s" if hung else f"exit code {child.returncode}: {last}"
        yield TestResult(current, "hang" if hung else "crash", why)


@contextlib.contextmanager
def _child(
    backend: str, match: str, names: Sequence[str] | None, done: Sequence[str], python: str | None
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    task = json.dumps({"backend": backend, "match": match, "names": names, "done": list(done)})
    command = [python or sys.executable, "-W", "ignore", "-m", "polymodel_conformance.official.suite"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    with tempfile.TemporaryFile() as words:
        try:
            child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words, env=environment)
        except OSError as error:
            raise BackendUnavailable(f"no interpreter {command[0]} for backend {backend!r}: {error}") from error
        try:
            assert child.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # it ended at once; why is among its words
                child.stdin.write(task.encode())
                child.stdin.close()
            yield child, words
        finally:
            child.kill()
            child.wait()
            if child.stdout is not None:
                child.stdout.close()


def _hangs(child: subprocess.Popen[bytes]) -> bool:
    """Whether a child that says no more is still alive; its end may come a moment after its last word."""
    try:
        child.wait(2.0)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        return True
    return False


def _last_line(words: IO[bytes]) -> str:
    words.seek(0)
    lines = [line.strip() for line in words.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"


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

    from polymodel.errors import PolymodelError
    from polymodel.onnx_interface import onnx_backend
    from polymodel.registry import get_backend

    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def tell(kind: str, **more: Any) -> None:
        print(json.dumps({"kind": kind, **more}), file=out, flush=True)

    try:
        get_backend(task["backend"])
    except PolymodelError as error:
        tell("refused", why=str(error))
        return
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
    tell("corpus", **asdict(suite.corpus))
    chosen, skip = task["names"] and set(task["names"]), set(task["done"])
    for name, item in suite.items.items():
        if name in skip or task["match"] not in name or (chosen and name not in chosen):
            continue
        tell("begin", name=name)
        host.clear()
        start = time.perf_counter()
        outcome, reason = "pass", ""
        try:
            item.func(unittest.TestCase())
        except AssertionError as error:
            outcome, reason = "fail", _line(error)
        except BaseException as error:  # a test that raises or skips anything is not passed
            outcome, reason = "error", f"{type(error).__name__}: {_line(error)}"
        tell("result", result=asdict(TestResult(name, outcome, reason, tuple(host), round(time.perf_counter() - start, 4))))
    tell("end")


def _line(error: BaseException) -> str:
    return " | ".join(line.strip() for line in str(error).splitlines() if line.strip())[:400]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    _serve(json.load(sys.stdin))
