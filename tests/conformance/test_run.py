"""A run: usage, the report in its three forms, and that nothing judged is no pass."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from polymodel_conformance.cases import Outcome
from polymodel_conformance.known_failures import known, parse, settle
from polymodel_conformance.reporting.report import SCHEMA, Report, Result
from polymodel_conformance.run import run
from polymodel_conformance.selection import Selection, UsageError
from polymodel_conformance.tolerance.verdict import Comparison, Verdict


def test_a_level_on_a_backend_and_its_report(tmp_path: Path) -> None:
    report = run(["torch"], "smoke", [3], tmp_path)
    assert report.passed
    assert report.exit_code == 0
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["schema"] == SCHEMA
    assert data["verdict"] == "pass"
    assert {r["case"] for r in data["results"]} == {
        f"optimizers/{n}/step{s}" for n in ("sgd_momentum", "sgd_nesterov", "adam", "adamw") for s in (1, 2)
    }
    suite = ET.parse(tmp_path / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("torch", "8", "0")
    page = (tmp_path / "index.html").read_text()
    assert "Every verdict is a pass" in page
    assert not re.findall(r"(?:src|href|url\()\s*=?\s*[\"']?https?:", page)


def test_nothing_collected_is_a_failure(tmp_path: Path) -> None:
    report = run(["torch"], "smoke", [3], tmp_path, selection=Selection("no case is called this"))
    assert report.exit_code == 1
    assert "nothing was judged" in report.problems[0]
    assert 'class="banner fail"' in (tmp_path / "index.html").read_text()


def test_a_backend_that_does_not_load_is_exit_code_3(tmp_path: Path) -> None:
    report = run(["torch"], "smoke", [3], tmp_path, pythons={"torch": "/nowhere/python"})
    assert report.exit_code == 3
    assert report.backend("torch").verdict == "error"
    assert "/nowhere/python" in (tmp_path / "junit.xml").read_text()


@pytest.mark.parametrize(
    ("backends", "profile", "levels", "word"),
    [(["caffe"], "smoke", [1], "caffe"), (["torch"], "tiny", [1], "tiny"), (["torch"], "smoke", [13], "13"), ([], "smoke", [1], "name")],
)
def test_impossible_arguments(backends: list[str], profile: str, levels: list[int], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        run(backends, profile, levels)


def test_known_failures_are_strict() -> None:
    listed = parse("# a comment\n\nforward/x  # the kernel rounds twice\n", "known/x.txt")
    assert settle("forward/x", Outcome(Verdict.FAIL), listed).verdict is Verdict.EXPECTED
    assert settle("forward/x", Outcome(Verdict.PASS), listed).verdict is Verdict.FAIL
    assert settle("forward/y", Outcome(Verdict.FAIL), listed).verdict is Verdict.FAIL
    assert settle("forward/x", Outcome(Verdict.PASS), listed, strict=False).verdict is Verdict.PASS
    with pytest.raises(ValueError, match="reason"):
        parse("forward/x\n", "known/x.txt")


def test_a_further_draw_of_a_listed_case_may_pass() -> None:
    listed = {"forward/x": "the kernel rounds twice"}
    assert settle("forward/x@1", Outcome(Verdict.FAIL), listed).verdict is Verdict.EXPECTED
    assert settle("forward/x@1", Outcome(Verdict.PASS), listed).verdict is Verdict.PASS


def test_a_package_ships_its_own_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """known.txt beside the module of the entry point; the package is not imported."""
    about = tmp_path / "theirs-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[polymodel.backends]\ntheirs = theirs_backend.inside:load\n")
    package = tmp_path / "theirs_backend"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('its framework is not here')\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert known("theirs") == {}
    (package / "known.txt").write_text("forward/x  # its kernel rounds twice\n")
    assert known("theirs") == {"forward/x": "its kernel rounds twice"}
    (package / "known.txt").write_text("forward/x\n")
    with pytest.raises(ValueError, match=r"known\.txt:1: expected 'case id  # reason'"):
        known("theirs")
    assert known("nobody") == {}


@pytest.mark.parametrize(("verdict", "worst"), [(Verdict.EXPECTED, 0.5), (Verdict.FAIL, 3.0)])
def test_the_worst_score_leaves_out_what_is_listed(verdict: Verdict, worst: float) -> None:
    report = Report("smoke", [1], ["torch"])
    for name, word, score in (("fine", Verdict.PASS, 2.0), ("listed", verdict, 12.0)):
        outcome = Outcome(word, (Comparison("y", word, "rho", score, 4.0, score),))
        report.results.append(Result(name, 1, "sums", "torch", outcome, 0.0))
    assert report.backend("torch").worst == worst
    assert report.worst_rho("torch") == 4.0 * worst
