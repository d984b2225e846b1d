"""Limits come from correct backends and are refused where a score has another cause."""

from __future__ import annotations

import pytest

from polymodel_conformance.calibrate import measured_limits
from polymodel_conformance.calibration import calibration
from polymodel_conformance.cases import Outcome
from polymodel_conformance.report import Report, Result
from polymodel_conformance.verdict import Comparison, Verdict


def report(score: float, rule: str = "rho") -> Report:
    found = Comparison("y", Verdict.PASS, rule, score, 8.0, family="products")
    outcome = Outcome(Verdict.PASS, [found])
    return Report("smoke", [1], ["torch"], results=[Result("forward/x", 1, "products", "torch", outcome, 0.0)])


def test_a_limit_is_twice_the_largest_score() -> None:
    assert measured_limits(report(7.2))["products"]["limit"] == 15.0
    assert measured_limits(report(0.3))["products"]["limit"] == 4.0
    assert measured_limits(report(1.0, "ulp"))["products"]["limit"] == 1.0


def test_a_score_that_no_rounding_explains_is_refused() -> None:
    with pytest.raises(ValueError, match="find the cause"):
        measured_limits(report(35.0))


def test_the_committed_limits_say_where_they_come_from() -> None:
    found = calibration()
    assert found["command"].startswith("python -m polymodel_conformance.calibrate")
    for family, entry in found["families"].items():
        assert entry["limit"] >= entry["largest"], family
