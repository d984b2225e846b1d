"""Limits come from correct backends and are refused where a score has another cause."""

from __future__ import annotations

from pathlib import Path

import pytest

from polymodel_conformance.cases import Outcome
from polymodel_conformance.reporting.journal import Journal, finished
from polymodel_conformance.reporting.report import Result
from polymodel_conformance.selection import UsageError
from polymodel_conformance.tolerance.calibrate import measured_limits, no_looser
from polymodel_conformance.tolerance.calibration import calibration
from polymodel_conformance.tolerance.verdict import Comparison, Verdict


def results(score: float, rule: str = "rho") -> list[Result]:
    found = Comparison("y", Verdict.PASS, rule, score, 8.0, family="products")
    return [Result("forward/x", 1, "products", "torch", Outcome(Verdict.PASS, [found]), 0.0)]


def test_a_limit_is_twice_the_largest_score() -> None:
    assert measured_limits(results(7.2))["products"]["limit"] == 15.0
    assert measured_limits(results(0.3))["products"]["limit"] == 4.0
    assert measured_limits(results(1.0, "ulp"))["products"]["limit"] == 1.0


def test_a_limit_that_was_kept_to_is_not_loosened() -> None:
    today = calibration()["families"]["products"]["limit"]
    for family in ("products", "products/float16", "products/bfloat16"):
        found = no_looser({family: {"largest": today - 0.5, "limit": 2 * today}})
        assert found[family]["limit"] == today
    assert no_looser({"products": {"largest": today + 1, "limit": 2 * today}})["products"]["limit"] == 2 * today
    assert no_looser({"products": {"largest": 0.1, "limit": today / 2}})["products"]["limit"] == today / 2


def test_a_score_that_no_rounding_explains_is_refused() -> None:
    with pytest.raises(ValueError, match="find the cause"):
        measured_limits(results(35.0))


def test_a_run_is_read_from_its_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no results\.jsonl"):
        finished(tmp_path)
    journal = Journal(tmp_path, {"profile": "full"}, False)
    journal.add(results(7.2)[0])
    journal.close()
    asked, found = finished(tmp_path)
    assert asked == {"profile": "full"}
    assert measured_limits(found)["products"]["largest"] == 7.2


def test_the_committed_limits_say_where_they_come_from() -> None:
    found = calibration()
    assert "polymodel_conformance.tolerance.calibrate" in found["command"]
    for family, entry in found["families"].items():
        assert entry["limit"] >= entry["largest"], family
