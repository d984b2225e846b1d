"""What a run found, and the forms in which it is written: JSON, JUnit XML and one HTML page."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from polymodel_conformance.cases import Outcome
from polymodel_conformance.levels import WHOLE
from polymodel_conformance.levels.fewest import left_out
from polymodel_conformance.score import Score, scores
from polymodel_conformance.tolerance.verdict import Comparison, Verdict, worst

if TYPE_CHECKING:
    from polymodel_conformance.reporting.baseline import Baseline

SCHEMA = "polymodel-conformance-report/1"
ORACLE = "oracle"
"""Who computes what should come out, beside the backends."""


@final
@dataclass(frozen=True)
class Result:
    """One case on one backend.

    Attributes:
        case: its id.
        level: 0 to 12.
        family: whose limit applied.
        backend: name.
        outcome: what came of it.
        seconds: how long the backend took.
        double: whether float64 was computed.
        operator: the one that the case is about; empty where it is about several or none.
    """

    case: str
    level: int
    family: str
    backend: str
    outcome: Outcome
    seconds: float
    double: bool = False
    operator: str = ""

    def json(self) -> dict[str, Any]:
        """Plain values; tensor by tensor only where something is wrong."""
        top = self.outcome.worst
        return {
            "case": self.case,
            "level": self.level,
            "family": self.family,
            "operator": self.operator,
            "backend": self.backend,
            "verdict": self.outcome.verdict.value,
            "message": self.outcome.message,
            "undecidable_elements": self.outcome.undecidable,
            "seconds": round(self.seconds, 4),
            "worst": top.json() if top else None,
            "comparisons": [c.json() for c in self.outcome.comparisons] if self.outcome.verdict.bad else [],
        }


@final
@dataclass(frozen=True)
class Summary:
    """One backend in a line.

    Attributes:
        verdict: "pass" or the worst that happened; "not run" where nothing was judged for want of a device.
        worst: largest score over its limit; above 1 is no pass.
        worst_rho: largest error in units of the rounding floor.
        counts: number of results by verdict.
    """

    verdict: str
    worst: float
    worst_rho: float
    counts: Mapping[str, int]


@final
@dataclass
class Report:
    """A run.

    Attributes:
        profile: "smoke", "quick", "full" or "exhaustive".
        levels: that were asked for.
        environment: versions and machine; per backend what it says about itself.
        results: of every case on every backend.
        undecided: cases without a verdict, with the reason.
        problems: what is wrong with the run itself (nothing collected, a known failure that no case has).
        unavailable: backends that did not load, with the reason.
        mutants: verdicts on the mutants, when they were asked for.
        cpu: processor seconds by who used them, the backends' processes and the oracle, and by level.
        requests: by backend, how many "programs" were asked for, and how many cases that was "together" and "alone".
        selection: which part of the suite was asked for, in words; empty for all of it.
        seed: of what was drawn.
        baseline: the comparison with an older report, when it was asked for.
        seconds: duration.
    """

    profile: str
    levels: Sequence[int]
    backends: Sequence[str]
    environment: dict[str, Any] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    undecided: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)
    mutants: list[dict[str, Any]] = field(default_factory=list)
    cpu: dict[str, dict[int, float]] = field(default_factory=dict)
    requests: dict[str, dict[str, int]] = field(default_factory=dict)
    selection: str = ""
    seed: int = 0
    baseline: Baseline | None = None
    seconds: float = 0.0
    html: Path | None = None

    @property
    def exit_code(self) -> int:
        """0 all passed, 1 something failed or became worse, 3 a backend is missing or nothing could be run here."""
        if self.unavailable:
            return 3
        if self.results and all(r.outcome.verdict is Verdict.NOT_RUN for r in self.results):
            return 3
        failed = self.problems or any(r.outcome.verdict.bad for r in self.results) or self._escaped
        return 1 if failed or (self.baseline is not None and self.baseline.worse) else 0

    @property
    def passed(self) -> bool:
        """Whether every verdict is a pass."""
        return self.exit_code == 0

    @property
    def word(self) -> str:
        """"pass", "fail", or "not run" when nothing could be run here."""
        return "pass" if self.passed else "not run" if self.exit_code == 3 and not self.unavailable else "fail"

    @property
    def _escaped(self) -> bool:
        return any(s.escaped or s.alarms for s in self.scores)

    @property
    def scores(self) -> list[Score]:
        """What came of the mutants, by backend; none when they were not planted."""
        return scores(self.mutants, self.backends)

    def count(self, backend: str | None = None, level: int | None = None) -> dict[str, int]:
        """Number of results by verdict."""
        found: dict[str, int] = {}
        for r in self.results:
            if (backend is None or r.backend == backend) and (level is None or r.level == level):
                found[r.outcome.verdict.value] = found.get(r.outcome.verdict.value, 0) + 1
        return found

    @property
    def not_run(self) -> dict[str, dict[str, int]]:
        """What was not run: number of results by reason, by backend."""
        found: dict[str, dict[str, int]] = {}
        for r in self.results:
            if r.outcome.verdict is Verdict.NOT_RUN:
                reasons = found.setdefault(r.backend, {})
                reasons[r.outcome.message] = reasons.get(r.outcome.message, 0) + 1
        return found

    @property
    def left_out(self) -> str:
        """How many cases of each level were judged of those of the full profile, in words; empty where that was all."""
        if self.selection or self.profile in WHOLE:
            return ""
        levels = {r.case: r.level for r in self.results}
        return left_out(self.profile, Counter(levels.values()))

    def verdict(self, backend: str) -> Verdict:
        """The worst verdict of a backend."""
        return worst([r.outcome.verdict for r in self.results if r.backend == backend])

    def backend(self, name: str) -> Summary:
        """One backend in a line; a backend that did not load has the verdict "error"."""
        if name in self.unavailable:
            return Summary(Verdict.ERROR.value, float("inf"), float("inf"), {})
        verdict = self.verdict(name)
        ratios = [c.score / c.limit if c.limit else c.score for c in self._comparisons(name)]
        judged = any(r.backend == name and r.outcome.verdict.judged for r in self.results)
        idle = name in self.not_run and not judged
        word = verdict if verdict.bad else Verdict.NOT_RUN if idle else Verdict.PASS
        return Summary(word.value, max(ratios, default=0.0), self.worst_rho(name), self.count(name))

    def summary(self) -> dict[str, Any]:
        """The report without its results."""
        return {k: v for k, v in self.json().items() if k not in ("results", "undecided", "mutants")}

    def __str__(self) -> str:
        from polymodel_conformance.reporting.text import text

        return text(self)

    def worst_rho(self, backend: str) -> float:
        """The largest rho of a backend, over what is judged by rho."""
        return max((c.rho for c in self._comparisons(backend) if c.rule == "rho" and c.rho == c.rho), default=0.0)

    def _comparisons(self, backend: str) -> Iterator[Comparison]:
        """Those of a backend; not of failures that are listed, which are shown by their reason."""
        for r in self.results:
            if r.backend == backend and r.outcome.verdict is not Verdict.EXPECTED:
                yield from r.outcome.comparisons

    def nearest(self, number: int = 20) -> list[Result]:
        """The results nearest to, or furthest beyond, their limit."""

        def excess(r: Result) -> float:
            c = r.outcome.worst
            if c is None:
                return float("inf") if r.outcome.verdict.bad else -1.0
            return c.score / c.limit if c.limit else c.score

        return sorted((r for r in self.results if r.outcome.verdict.judged), key=excess, reverse=True)[:number]

    def matrix(self) -> list[dict[str, Any]]:
        """Rows of family and level with a cell per backend: verdict, number judged, passed, largest score over limit."""
        rows: dict[tuple[int, str], dict[str, list[Result]]] = {}
        for r in self.results:
            rows.setdefault((r.level, r.family), {}).setdefault(r.backend, []).append(r)
        return [
            {"level": level, "family": family, "cells": [_cell(found.get(b, [])) for b in self.backends]}
            for (level, family), found in sorted(rows.items())
        ]

    def families(self, level: int) -> list[FamilyRow]:
        """One level by family and element type."""
        rows: dict[tuple[str, str], FamilyRow] = {}
        for r in self.results:
            if r.level == level:
                dtype = "float64" if r.double else "float32"
                row = rows.setdefault((r.family, dtype), FamilyRow(r.family, dtype))
                row.add(r, r.case in self.undecided)
        return [rows[key] for key in sorted(rows)]

    def json(self) -> dict[str, Any]:
        """Plain values, by the schema that the first key names."""
        return {
            "schema": SCHEMA,
            "verdict": self.word,
            "profile": self.profile,
            "levels": list(self.levels),
            "backends": list(self.backends),
            "selection": self.selection,
            "left_out": self.left_out,
            "seed": self.seed,
            "baseline": None if self.baseline is None else self.baseline.json(),
            "seconds": round(self.seconds, 1),
            "environment": self.environment,
            "counts": {b: self.count(b) for b in self.backends},
            "worst_rho": {b: _plain(self.worst_rho(b)) for b in self.backends},
            "families": {str(n): [row.json() for row in self.families(n)] for n in self.levels if n in (1, 2)},
            "problems": self.problems,
            "unavailable": self.unavailable,
            "undecided": self.undecided,
            "not_run": self.not_run,
            "requests": self.requests,
            "cpu": {who: {str(n): round(s, 2) for n, s in sorted(own.items())} for who, own in sorted(self.cpu.items())},
            "score": {s.backend: s.json() for s in self.scores},
            "mutants": self.mutants,
            "results": [r.json() for r in self.results],
        }

    def write(self, folder: Path) -> Path:
        """Write report.json, junit.xml and index.html.

        Returns:
            Path of the HTML page.
        """
        from polymodel_conformance.reporting.html import page
        from polymodel_conformance.reporting.junit import junit

        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(json.dumps(self.json(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        (folder / "junit.xml").write_text(junit(self), encoding="utf-8")
        self.html = folder / "index.html"
        self.html.write_text(page(self, folder), encoding="utf-8")
        return self.html


@final
@dataclass
class FamilyRow:
    """What a level says about a family in one element type.

    Attributes:
        family: of operators.
        dtype: "float32" or "float64".
        cases: ids judged or undecided.
        undecided: ids without a verdict: no derivative there (a kink, an infinity), or an oracle that is not confirmed.
        passed, worst: by backend, number of passes and the largest score.
    """

    family: str
    dtype: str
    cases: set[str] = field(default_factory=set)
    undecided: set[str] = field(default_factory=set)
    judged: dict[str, int] = field(default_factory=dict)
    passed: dict[str, int] = field(default_factory=dict)
    worst: dict[str, float] = field(default_factory=dict)

    def add(self, result: Result, undecided: bool) -> None:
        """Count a result."""
        self.cases.add(result.case)
        if undecided:
            self.undecided.add(result.case)
        if not result.outcome.verdict.judged:
            return
        name = result.backend
        self.judged[name] = self.judged.get(name, 0) + 1
        self.passed[name] = self.passed.get(name, 0) + (not result.outcome.verdict.bad)
        score = max((c.score for c in result.outcome.comparisons), default=0.0)
        self.worst[name] = max(self.worst.get(name, 0.0), score)

    def json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "family": self.family,
            "dtype": self.dtype,
            "cases": len(self.cases),
            "undecided": len(self.undecided),
            "judged": self.judged,
            "passed": self.passed,
            "worst": {b: _plain(s) for b, s in self.worst.items()},
        }


def _cell(found: Sequence[Result]) -> Mapping[str, Any]:
    judged = [r for r in found if r.outcome.verdict.judged]
    if not judged:
        idle = sum(r.outcome.verdict is Verdict.NOT_RUN for r in found)
        return {"verdict": Verdict.NOT_RUN.value if idle else "", "judged": 0, "passed": 0, "score": "", "not_run": idle}
    scores = [c.score / c.limit for r in judged for c in r.outcome.comparisons if c.limit and c.score < float("inf")]
    return {
        "verdict": worst([r.outcome.verdict for r in judged]).value,
        "judged": len(judged),
        "passed": sum(not r.outcome.verdict.bad for r in judged),
        "score": f"{max(scores):.2g}" if scores else "",
        "not_run": 0,
    }


def _plain(x: float) -> float | str:
    return round(x, 3) if x < float("inf") else "inf"
