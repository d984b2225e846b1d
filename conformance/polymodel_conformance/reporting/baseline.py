"""What became worse since an older report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from polymodel_conformance.levels import WHOLE
from polymodel_conformance.reporting.report import SCHEMA, Report
from polymodel_conformance.selection import UsageError
from polymodel_conformance.tolerance.verdict import Verdict

_GROWN, _NEAR = 2.0, 0.5
"""A passing score is said to be nearer to its limit when it doubled and came to more than half of it."""


@final
@dataclass(frozen=True)
class Difference:
    """One case on one backend, then and now.

    Attributes:
        case, backend: which.
        was, now: verdict, or "missing"; for passes the score as a share of the limit.
        detail: why, when it is known.
    """

    case: str
    backend: str
    was: str
    now: str
    detail: str = ""

    def json(self) -> dict[str, str]:
        """Plain values."""
        return {"case": self.case, "backend": self.backend, "was": self.was, "now": self.now, "detail": self.detail}

    def __str__(self) -> str:
        return f"{self.backend} {self.case}: {self.was}, now {self.now}" + (f": {self.detail}" if self.detail else "")


@final
@dataclass(frozen=True)
class Baseline:
    """A run against an older one.

    Attributes:
        path: of the older report.
        worse: passed then, and now failed, without a verdict or gone; these fail the run.
        nearer: passes in both, whose score moved towards the limit.
        better: failed then and passes now.
    """

    path: Path
    worse: list[Difference] = field(default_factory=list)
    nearer: list[Difference] = field(default_factory=list)
    better: list[Difference] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        """Plain values."""
        lists = {"worse": self.worse, "nearer": self.nearer, "better": self.better}
        return {"path": str(self.path), **{n: [d.json() for d in found] for n, found in lists.items()}}


@final
@dataclass(frozen=True)
class Older:
    """An older run.

    Attributes:
        path: of its report.json.
        profile, seed: of the run.
        results: by case and backend.
    """

    path: Path
    profile: str
    seed: int
    results: Mapping[tuple[str, str], Mapping[str, Any]]


def read(path: Path) -> Older:
    """A report.json.

    Raises:
        UsageError: it is none.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA:
            raise UsageError(f"{path} has the schema {data['schema']!r}, expected {SCHEMA!r}: write it anew")
        return Older(path, data["profile"], data["seed"], {(r["case"], r["backend"]): r for r in data["results"]})
    except OSError as error:
        raise UsageError(f"cannot read the baseline {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{path} is no report.json of this suite: {error}") from None


def against(old: Older, report: Report, partial: bool) -> Baseline:
    """Compare a report with an older one.

    A case that is missing is gone, and worse, where this run asked for all that the older one could have asked: in a profile that is
    no sample, or in the same sample.

    Args:
        old: from `read`.
        report: the run.
        partial: whether only some of the cases were asked for.
    """
    found = Baseline(old.path)
    new = {(r.case, r.backend): r for r in report.results}
    whole = not partial and (report.profile in WHOLE or (report.profile, report.seed) == (old.profile, old.seed))
    for (case, backend), before in old.results.items():
        if backend not in report.backends:
            continue
        was = Verdict(before["verdict"])
        result = new.get((case, backend))
        if result is None:
            if whole and was is Verdict.PASS and before["level"] in report.levels:
                found.worse.append(Difference(case, backend, was.value, "missing"))
            continue
        now = result.outcome.verdict
        difference = Difference(case, backend, was.value, now.value, result.outcome.message)
        if was is Verdict.PASS and now is not Verdict.PASS:
            found.worse.append(difference)
        elif was.bad and not now.bad:
            found.better.append(difference)
        elif was is Verdict.PASS:
            then, share = _share(before["worst"]), _share(top.json() if (top := result.outcome.worst) else None)
            if share > _NEAR and share > _GROWN * then:
                found.nearer.append(Difference(case, backend, f"{then:.2g} of its limit", f"{share:.2g}"))
    return found


def _share(worst: Mapping[str, Any] | None) -> float:
    return 0.0 if worst is None or not worst["limit"] else float(worst["score"]) / float(worst["limit"])
