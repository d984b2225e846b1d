"""What a check can come out as."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, final


@final
class Verdict(StrEnum):
    """From best to worst; `worst` of several is the last of them here."""

    PASS = "pass"
    UNCLAIMED = "unclaimed"
    NOT_RUN = "not run"
    UNDECIDED = "undecided"
    EXPECTED = "expected failure"
    SUSPICIOUS = "suspicious"
    FAIL = "fail"
    ERROR = "error"
    CRASH = "crash"

    @property
    def bad(self) -> bool:
        """Whether it makes the run fail."""
        return self in (Verdict.SUSPICIOUS, Verdict.FAIL, Verdict.ERROR, Verdict.CRASH)

    @property
    def judged(self) -> bool:
        """Whether values were compared or the attempt to get them failed."""
        return self not in (Verdict.UNCLAIMED, Verdict.NOT_RUN, Verdict.UNDECIDED)


_ORDER = {v: i for i, v in enumerate(Verdict)}


def worst(verdicts: list[Verdict]) -> Verdict:
    """The worst of several; PASS of none."""
    return max(verdicts, key=_ORDER.__getitem__, default=Verdict.PASS)


@final
@dataclass(frozen=True)
class Comparison:
    """One tensor against what it should be.

    Attributes:
        name: of the tensor.
        verdict: what it came out as.
        rule: "exact", "ulp" or "rho".
        score: what decides: 0 or inf, largest distance in ULP, or rho.
        limit: score up to which it passes.
        rho: error in units of the rounding floor; nan where there is no floor.
        ulp: largest distance to the rounded float64 value in units in the last place.
        max_abs: largest absolute error.
        sigma: rms of the rounding floor.
        detail: why it did not pass.
        family: whose limit it was.
    """

    name: str
    verdict: Verdict
    rule: str
    score: float = 0.0
    limit: float = 0.0
    rho: float = float("nan")
    ulp: float = 0.0
    max_abs: float = 0.0
    sigma: float = 0.0
    detail: str = ""
    family: str = ""

    def json(self) -> dict[str, Any]:
        """Plain values; infinite and undefined numbers as strings."""
        plain = {k: str(v) if isinstance(v, float) and not abs(v) < float("inf") else v for k, v in asdict(self).items()}
        return {**plain, "verdict": self.verdict.value}
