"""Measures the limits from the report of a run on backends that are believed correct:

    polymodel conformance --profile full --report report
    python -m polymodel_conformance.tolerance.calibrate report

The limit of each family is twice the largest score seen, rounded up to an integer, and at least 4: a limit only says what correct
backends do, and the mutants say whether it still separates. Distances in ULP get the largest distance seen, at least 1. A family whose
largest score exceeds 32 is refused: look for the cause first. Expected failures are not measured. No limit that the run kept to is
loosened, and half precision begins with the limit of its family. The result replaces calibration.json; commit it.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from polymodel_conformance.known_failures import known
from polymodel_conformance.reporting.journal import finished
from polymodel_conformance.reporting.report import Result
from polymodel_conformance.selection import UsageError
from polymodel_conformance.tolerance.calibration import calibration
from polymodel_conformance.tolerance.verdict import Verdict

LEAST, MOST = 4.0, 32.0


def measured_limits(results: Iterable[Result]) -> dict[str, dict[str, Any]]:
    """Limit, largest score and where, number of comparisons, by family.

    Raises:
        ValueError: a family has a score that no correct backend should have.
    """
    seen: dict[str, dict[str, Any]] = {}
    for r in results:
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


def no_looser(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The limits of today where what was measured is within them."""
    before = calibration()["families"]
    for family, entry in found.items():
        today = before.get(family, before.get(family.removesuffix("/float16").removesuffix("/bfloat16")))
        if today is not None and entry["largest"] <= today["limit"]:
            entry["limit"] = min(entry["limit"], today["limit"])
    return found


def main(arguments: Sequence[str]) -> int:
    """Calibrate on the run in a folder."""
    folder = Path(arguments[0])
    asked, results = finished(folder)
    about = json.loads((folder / "report.json").read_text(encoding="utf-8"))["environment"]
    listed = {backend: known(backend) for backend in asked["backends"]}
    results = [r for r in results if r.case not in listed[r.backend]]
    if broken := [r for r in results if r.outcome.verdict.bad and r.outcome.verdict is not Verdict.SUSPICIOUS]:
        raise UsageError(f"{folder}: {broken[0].case} on {broken[0].backend}: {broken[0].outcome.message}: find the cause first")
    result = {
        "command": f"polymodel conformance --backends {','.join(asked['backends'])} --profile {asked['profile']} --seed {asked['seed']}"
        " --report report; python -m polymodel_conformance.tolerance.calibrate report",
        "rule": "twice the largest score of correct backends, rounded up, at least 4; ulp: the largest",
        "versions": {b: found["versions"] for b, found in about["backends"].items()},
        "processor": about["processor"],
        "families": no_looser(measured_limits(r for r in results if r.outcome.verdict in (Verdict.PASS, Verdict.SUSPICIOUS))),
    }
    path = Path(__file__).with_name("calibration.json")
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
