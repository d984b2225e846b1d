"""What counts in a run of the onnx package's suite, on made-up results; tests/conformance/official runs it in truth."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from polymodel_conformance.official import report as official_report
from polymodel_conformance.official.known import Expected, expected, known_misses, parse
from polymodel_conformance.official.report import OfficialRun, SuiteReport
from polymodel_conformance.official.suite import Corpus
from polymodel_conformance.official.suite import TestResult as Result

NAMES = ("test_a", "test_b", "test_c")
HERE = Expected(onnx.__version__, "0f", 3, frozenset(["test_a", "test_b"]))


def run(reasons: dict[str, str], *results: Result, expected: Expected = HERE, corpus: Corpus | None = None) -> OfficialRun:
    report = SuiteReport("torch", reasons, expected.core, corpus or Corpus(NAMES, "0f"), list(results))
    return OfficialRun(expected=expected, reports={"torch": report})


A, B = Result("test_a", "pass", host=("If",)), Result("test_b", "pass")
C = Result("test_c", "crash", "exit code -11")


def test_all_pass() -> None:
    found = run({}, A, B, replace(C, outcome="pass"))
    assert (found.problems, found.exit_code) == ([], 0)
    counts = found.reports["torch"].counts
    assert (counts["passed"], counts["core_passed"], counts["core_tests"], counts["core_by_host"]) == (3, 2, 2, 1)


def test_a_listed_miss_is_expected_and_an_unlisted_one_is_a_problem() -> None:
    assert run({"test_c": "kills the process"}, A, B, C).exit_code == 0
    found = run({}, A, B, C)
    assert (found.problems, found.exit_code) == (["torch: test_c misses (crash: exit code -11)"], 1)


def test_a_listed_test_that_passes_is_a_problem() -> None:
    (problem,) = run({"test_a": "never works"}, A, B, replace(C, outcome="pass")).problems
    assert problem == "torch: test_a is listed as a miss and passes: unlist it"


def test_a_listed_name_that_no_test_has_is_a_problem() -> None:
    (problem,) = run({"test_z": "gone"}, A, B, replace(C, outcome="pass")).problems
    assert "test_z" in problem
    assert "no test" in problem


def test_nothing_ran() -> None:
    assert run({}).exit_code == 1


@pytest.mark.parametrize("corpus", [Corpus(NAMES, "0e"), Corpus((*NAMES, "test_d"), "0f")])
def test_another_corpus_is_a_problem(corpus: Corpus) -> None:
    (problem,) = run({}, A, B, corpus=corpus).problems
    assert "expected 3 with 0f" in problem


@pytest.mark.parametrize(("reason", "problems"), [("kills the process", 1), ("decided by rounding: equal logits", 0)])
def test_only_what_rounding_decides_may_pass_where_it_is_listed(reason: str, problems: int) -> None:
    passing = replace(C, outcome="pass")
    assert len(run({"test_c": reason}, A, B, passing).problems) == problems


def test_another_version_of_onnx_is_said() -> None:
    found = run({}, A, B, expected=replace(HERE, onnx="1.0.0"), corpus=Corpus((*NAMES, "test_d"), "0e"))
    assert found.problems == []
    assert "belong to onnx 1.0.0" in found.note
    assert found.summary()["corpus"] == {"hash": "0e", "checked": False}


def test_a_missing_backend_is_code_3() -> None:
    found = run({}, A, B)
    found.unavailable["mxnet"] = "no mxnet here"
    assert found.exit_code == 3


def test_the_written_report(tmp_path: Path) -> None:
    path = run({"test_c": "kills the process"}, A, B, C).write(tmp_path / "new")
    found = json.loads(path.read_text())
    assert (found["onnx"], found["corpus"]["hash"], found["verdict"]) == (onnx.__version__, "0f", "pass")
    assert found["backends"]["torch"]["misses"] == [
        {"name": "test_c", "outcome": "crash", "core": False, "raised": "exit code -11", "known": "kills the process"}
    ]
    assert [r["name"] for r in found["results"]["torch"]] == list(NAMES)


def test_a_backend_that_does_not_answer_is_unavailable() -> None:
    found = official_report.run_official(["torch"], pythons={"torch": "/no/python"}, quiet=True)
    assert found.exit_code == 3
    assert "/no/python" in found.unavailable["torch"]


@pytest.mark.parametrize("text", ["test_a", "test_a:", ": why", "test_a: x\ntest_a: y"])
def test_a_line_needs_a_name_and_a_reason(text: str) -> None:
    with pytest.raises(ValueError, match=r"known/x.txt:\d: expected 'test_name: reason'"):
        parse(text, "known/x.txt")


def test_the_lists_of_this_repository() -> None:
    assert (expected().tests, len(expected().core), len(expected().hash)) == (2033, 1186, 16)
    for backend in ("torch", "tensorflow", "mxnet"):
        assert all(name.startswith("test_") for name in known_misses(backend))
