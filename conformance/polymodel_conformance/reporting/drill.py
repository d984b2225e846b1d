"""What the HTML page shows when a cell of the matrix or a case is opened: plain values that the page's script draws from."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polymodel_conformance.reporting.evidence import DECADES, DETAILS
from polymodel_conformance.tolerance.verdict import Verdict, worst

if TYPE_CHECKING:
    from polymodel_conformance.reporting.report import Report, Result

_STEP = re.compile(r"^(trajectory/.+)/step(\d+)$")
_FREE = re.compile(r"^(trajectory/.+/free)$")
_LOSS = re.compile(r"@(\d+)$")


def drill(report: Report, folder: Path | None) -> dict[str, Any]:
    """Cases with a result for each backend, and what failures left behind in the report's folder."""
    cases: dict[str, dict[str, Any]] = {}
    for r in report.results:
        entry = cases.setdefault(r.case, {"id": r.case, "level": r.level, "family": r.family, "op": r.operator, "on": {}})
        entry["on"][r.backend] = _result(r, folder)
    return {"backends": list(report.backends), "decades": list(DECADES), "seed": report.seed, "cases": list(cases.values())}


def _result(r: Result, folder: Path | None) -> dict[str, Any]:
    top = r.outcome.worst
    found: dict[str, Any] = {"v": r.outcome.verdict.value, "s": round(r.seconds, 3)}
    if r.outcome.message:
        found["m"] = r.outcome.message[:600]
    if r.outcome.undecidable:
        found["u"] = r.outcome.undecidable
    if top is not None:
        found["t"] = [top.name, top.rule, *(_number(x) for x in (top.score, top.limit, top.rho, top.ulp, top.max_abs, top.sigma))]
        found["n"] = len(r.outcome.comparisons)
    if r.outcome.verdict.bad and folder is not None:
        place = Path("failures") / r.backend / r.case.replace("/", "-")
        if (folder / place / DETAILS).is_file():
            found["e"] = {"place": place.as_posix(), **json.loads((folder / place / DETAILS).read_text(encoding="utf-8"))}
    return found


def _number(x: float) -> float | str | None:
    return None if math.isnan(x) else float(f"{x:.3g}") if math.isfinite(x) else "inf"


def by_operator(report: Report) -> dict[str, dict[str, dict[int, dict[str, Any]]]]:
    """By operator, backend and level: the worst verdict, number judged and passed; of cases that are about one operator."""
    found: dict[str, dict[str, dict[int, list[Verdict]]]] = {}
    for r in report.results:
        if r.operator and r.outcome.verdict.judged:
            found.setdefault(r.operator, {}).setdefault(r.backend, {}).setdefault(r.level, []).append(r.outcome.verdict)
    return {
        name: {
            b: {n: {"verdict": worst(v).value, "judged": len(v), "passed": sum(not x.bad for x in v)} for n, v in sorted(levels.items())}
            for b, levels in backends.items()
        }
        for name, backends in sorted(found.items())
    }


def trajectories(report: Report) -> dict[str, dict[str, Any]]:
    """By name: the limit, and for each backend (step, largest error in units of the floor) of steps in order.

    Of a teacher-forced training each step is a case; of a free one the losses of its steps are values of one case.
    """
    found: dict[str, dict[str, Any]] = {}
    for r in report.results:
        if r.level != 6 or not r.outcome.verdict.judged:
            continue
        if step := _STEP.match(r.case):
            top = r.outcome.worst
            points = [(int(step[2]), top.score, top.limit)] if top is not None else []
            name = step[1]
        elif free := _FREE.match(r.case):
            name = free[1]
            points = [(int(m[1]), c.score, c.limit) for c in r.outcome.comparisons if (m := _LOSS.search(c.name))]
        else:
            continue
        entry = found.setdefault(name, {"limit": 0.0, "on": {}})
        for at, score, limit in points:
            entry["limit"] = max(entry["limit"], limit)
            entry["on"].setdefault(r.backend, []).append((at, score))
    return {n: _ordered(e) for n, e in found.items() if e["on"]}


def _ordered(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"limit": entry["limit"], "on": {b: sorted(points) for b, points in entry["on"].items()}}
