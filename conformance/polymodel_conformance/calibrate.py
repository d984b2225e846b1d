"""Measures the limits: ``python -m polymodel_conformance.calibrate torch,tensorflow,mxnet``.

Runs the suite on backends that are believed correct and sets the limit of each family to twice the largest score seen, rounded
up to an integer, and to at least 4: a limit only says what correct backends do, and the mutants say whether it still
separates. Distances in ULP get the largest distance seen, at least 1. A family whose largest score exceeds 32 is refused:
look for the cause first. The result replaces calibration.json; commit it.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polymodel_conformance.calibration import calibration
from polymodel_conformance.families import FAMILY
from polymodel_conformance.report import Report
from polymodel_conformance.run import run
from polymodel_conformance.selection import Selection

LEAST, MOST = 4.0, 32.0


def measured_limits(report: Report) -> dict[str, dict[str, Any]]:
    """Limit, largest score and where, number of comparisons, by family.

    Raises:
        ValueError: a family has a score that no correct backend should have.
    """
    seen: dict[str, dict[str, Any]] = {}
    for r in report.results:
        for c in r.outcome.comparisons:
            if c.rule == "exact" or not c.family:
                continue
            entry = seen.setdefault(c.family, {"rule": c.rule, "largest": 0.0, "comparisons": 0, "where": ""})
            entry["comparisons"] += 1
            if c.score > entry["largest"]:
                entry.update(largest=round(c.score, 3), where=f"{r.backend} {r.case} {c.name}", rule=c.rule)
    for family, entry in seen.items():
        if entry["largest"] > MOST:
            raise ValueError(f"family {family!r} scores {entry['largest']} at {entry['where']}: find the cause first")
        entry["limit"] = _limit(entry["rule"], entry["largest"])
    return dict(sorted(seen.items()))


def _limit(rule: str, largest: float) -> float:
    if rule == "ulp":
        return max(1.0, math.ceil(largest))
    return max(LEAST, float(math.ceil(2.0 * largest)))


def main(arguments: Sequence[str]) -> int:
    """Calibrate on backends (first argument), with a profile ("full"), at some levels (all), for some families (all).

    With levels or families named, the limits of other families stay as they are, and those that are measured say by which
    command.
    """
    backends = arguments[0].split(",")
    profile = arguments[1] if len(arguments) > 1 else "full"
    levels = [int(n) for n in arguments[2].split(",")] if len(arguments) > 2 else None
    families = arguments[3].split(",") if len(arguments) > 3 else []
    selection = Selection(operators=frozenset(op for op, family in FAMILY.items() if family in families))
    report = run(backends, profile, levels, selection=selection)
    broken = [r for r in report.results if r.outcome.verdict.value in ("error", "crash")]
    if report.unavailable or broken:
        print(report)
        return 1
    found = measured_limits(report)
    if families:
        found = {f: entry for f, entry in found.items() if f.removesuffix("/float64") in families}
    command = f"python -m polymodel_conformance.calibrate {' '.join(arguments)}"
    if levels:
        found = {f: {**entry, "command": command} for f, entry in found.items()}
    result = {
        "command": calibration()["command"] if levels else command,
        "rule": "twice the largest score of correct backends, rounded up, at least 4; ulp: the largest",
        "versions": {b: about["versions"] for b, about in report.environment["backends"].items()},
        "processor": report.environment["processor"],
        "families": dict(sorted({**(calibration()["families"] if levels else {}), **found}.items())),
    }
    path = Path(__file__).with_name("calibration.json")
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(report)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
