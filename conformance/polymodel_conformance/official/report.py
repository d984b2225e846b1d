"""The onnx package's suite on several backends: running it, what counts, and its report.

1. A test that does not pass is a miss; a miss that known/onnx_BACKEND.txt lists with a reason is expected.
2. A listed test that passes is a problem, and so is a listed name that no test has.
3. With the version of onnx that the lists belong to, another number of tests or other models are a problem too.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import onnx

from polymodel import __version__
from polymodel.errors import BackendUnavailable
from polymodel_conformance.official.known import ROUNDING, Expected, expected, known_misses
from polymodel_conformance.official.suite import Corpus, TestResult, run_suite
from polymodel_conformance.reporting.progress import Progress
from polymodel_conformance.tolerance.verdict import Verdict

FILE = "onnx-suite.json"
_VERDICTS = {"pass": Verdict.PASS, "crash": Verdict.CRASH, "hang": Verdict.CRASH}


@final
@dataclass
class SuiteReport:
    """All tests of one backend.

    Attributes:
        backend: its name.
        reasons: of expected misses, by test.
        core: names of the CORE tests.
        corpus: everything that the suite has, None before the first test.
        results: one for each test that ran.
    """

    backend: str
    reasons: Mapping[str, str]
    core: frozenset[str]
    corpus: Corpus | None = None
    results: list[TestResult] = field(default_factory=list)

    @property
    def passed(self) -> list[TestResult]:
        """Tests that passed."""
        return [r for r in self.results if r.outcome == "pass"]

    @property
    def core_passed(self) -> list[TestResult]:
        """CORE tests that passed."""
        return [r for r in self.passed if r.name in self.core]

    @property
    def misses(self) -> list[TestResult]:
        """Tests that did not pass."""
        return [r for r in self.results if r.outcome != "pass"]

    @property
    def counts(self) -> dict[str, int]:
        """The numbers of the table."""
        by = Counter(r.outcome for r in self.results)
        return {
            "passed": by["pass"],
            "tests": len(self.results),
            "core_passed": len(self.core_passed),
            "core_tests": sum(r.name in self.core for r in self.results),
            "core_by_host": sum(bool(r.host) for r in self.core_passed),
            **{word: by[word] for word in ("fail", "error", "crash", "hang")},
            "unlisted": sum(r.name not in self.reasons for r in self.misses),
        }

    @property
    def problems(self) -> list[str]:
        """What is not as the list of known misses says."""
        found = [f"{r.name} misses ({r.outcome}: {r.reason})" for r in self.misses if r.name not in self.reasons]
        surely = {n for n, reason in self.reasons.items() if not reason.startswith(ROUNDING)}
        found += [f"{r.name} is listed as a miss and passes: unlist it" for r in self.passed if r.name in surely]
        names = set() if self.corpus is None else set(self.corpus.names)
        found += [f"{n} is listed as a miss and no test has that name" for n in self.reasons if n not in names]
        return [f"{self.backend}: {words}" for words in found]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **self.counts,
            "misses": [
                {"name": r.name, "outcome": r.outcome, "core": r.name in self.core, "raised": r.reason, "known": self.reasons.get(r.name)}
                for r in self.misses
            ],
            "problems": self.problems,
        }


@final
@dataclass
class OfficialRun:
    """The suite on several backends.

    Attributes:
        reports: by backend.
        unavailable: why a backend could not be asked.
        match: what names of tests contain, "" for all tests.
        seconds: how long it took.
    """

    match: str = ""
    expected: Expected = field(default_factory=expected)
    reports: dict[str, SuiteReport] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def corpora(self) -> dict[str, Corpus]:
        """What each backend's process found, by backend."""
        return {b: r.corpus for b, r in self.reports.items() if r.corpus is not None}

    @property
    def note(self) -> str:
        """What is not checked since the lists belong to another version of onnx, "" when everything is."""
        if self.expected.installed:
            return ""
        return (
            f"onnx {onnx.__version__} is installed: the number of tests, their hash, the CORE list and the known misses belong "
            f"to onnx {self.expected.onnx}, and number and hash are not checked"
        )

    @property
    def problems(self) -> list[str]:
        """Everything that must not be."""
        found = [f"{b}: {why}" for b, why in self.unavailable.items()]
        for backend, corpus in self.corpora.items() if self.expected.installed else ():
            have, want = (len(corpus.names), corpus.hash), (self.expected.tests, self.expected.hash)
            if have != want:
                found.append(
                    f"{backend}: onnx {onnx.__version__} gives {have[0]} tests with hash {have[1]}, expected {want[0]} with {want[1]}: "
                    "are Pillow and the packages of constraints.txt installed?"
                )
            if absent := sorted(self.expected.core - set(corpus.names)):
                found.append(f"{backend}: {len(absent)} CORE tests are not in the suite: {', '.join(absent[:5])}")
        return found + [p for r in self.reports.values() for p in r.problems]

    @property
    def exit_code(self) -> int:
        """0, 1 when there are problems or no test ran, 3 when a backend is missing."""
        if self.unavailable:
            return 3
        return 1 if self.problems or not all(r.results for r in self.reports.values()) else 0

    def summary(self) -> dict[str, Any]:
        """For JSON, without the tests that passed."""
        hashes = sorted({c.hash for c in self.corpora.values()})
        return {
            "schema": "polymodel.onnx-suite/1",
            "suite": "onnx",
            "verdict": "pass" if self.exit_code == 0 else "fail",
            "match": self.match,
            "polymodel": __version__,
            "python": sys.version.split()[0],
            "onnx": onnx.__version__,
            "numpy": np.__version__,
            "corpus": {"hash": hashes[0] if len(hashes) == 1 else hashes, "checked": self.expected.installed},
            "note": self.note,
            "unavailable": self.unavailable,
            "backends": {b: r.to_dict() for b, r in self.reports.items()},
            "problems": self.problems,
            "seconds": round(self.seconds, 1),
        }

    def write(self, folder: Path) -> Path:
        """Write the report, every test included, and return its path."""
        folder.mkdir(parents=True, exist_ok=True)
        every = {b: [asdict(r) for r in report.results] for b, report in self.reports.items()}
        path = folder / FILE
        path.write_text(json.dumps({**self.summary(), "results": every}, indent=1) + "\n", encoding="utf-8")
        return path


def run_official(
    backends: Sequence[str],
    match: str = "",
    report_dir: str | os.PathLike[str] | None = None,
    *,
    pythons: Mapping[str, str] | None = None,
    timeout: float = 120.0,
    quiet: bool | None = None,
) -> OfficialRun:
    """Run the onnx package's suite.

    Args:
        backends: registered names.
        match: only tests whose name contains it.
        report_dir: where onnx-suite.json goes; none is written when None.
        pythons: interpreter for a backend's process, by name.
        timeout: seconds for one test.
        quiet: no progress; by default when standard error is no terminal.
    """
    run, start = OfficialRun(match), time.monotonic()
    with ExitStack() as stack:
        bars: list[Progress] = []

        def begun(report: SuiteReport, corpus: Corpus) -> None:
            report.corpus = corpus
            if not bars:
                total = len(backends) * sum(match in n for n in corpus.names)
                bars.append(stack.enter_context(Progress(total, quiet)))

        for backend in backends:
            report = SuiteReport(backend, known_misses(backend), run.expected.core)
            run.reports[backend] = report
            try:
                for result in run_suite(backend, match, None, timeout, (pythons or {}).get(backend), lambda c, r=report: begun(r, c)):  # type: ignore[misc]
                    report.results.append(result)
                    bars[0].advance(f"{backend} {result.name}", _seen(report, result))
            except BackendUnavailable as error:
                del run.reports[backend]
                run.unavailable[backend] = str(error)
    run.seconds = time.monotonic() - start
    if report_dir is not None:
        run.write(Path(report_dir))
    return run


def _seen(report: SuiteReport, result: TestResult) -> Verdict:
    verdict = _VERDICTS.get(result.outcome, Verdict.FAIL)
    return Verdict.EXPECTED if verdict.bad and result.name in report.reasons else verdict
