"""Every way in which a backend can misbehave is caught, its case has the blame, and the run goes on."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from polymodel_conformance.reporting.report import Report
from polymodel_conformance.run import run
from polymodel_conformance.selection import Selection
from polymodel_conformance.tolerance.verdict import Verdict

LIARS = ("crash", "hang", "glutton", "shape", "dtype", "nan", "empty", "late", "memo", "cribber", "idle", "first_gradients", "first_step")
OPERATORS = Selection("forward/generated/", frozenset({"Exp", "Relu", "Softmax"}))
"""One case before the one with Relu, and one after it."""
RELU = "forward/generated/relu"

Judge = Callable[..., Report]


@pytest.fixture(scope="module")
def judge(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    """judge(names, ...): a run of the suite that knows the liars."""
    folder = tmp_path_factory.mktemp("liars")
    about = folder / "polymodel_liars-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: polymodel-liars\nVersion: 1\n")
    rows = [f"{name} = polymodel_liars:{name}" for name in LIARS]
    (about / "entry_points.txt").write_text("\n".join(["[polymodel.backends]", *rows, ""]))
    paths = [str(folder), str(site), str(Path(__file__).parent / "liars")]
    with pytest.MonkeyPatch.context() as patch:
        for path in paths:
            patch.syspath_prepend(path)
        patch.setenv("PYTHONPATH", os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]))
        importlib.invalidate_caches()

        def call(names: list[str], levels: list[int], selection: Selection, timeout: float = 120.0) -> Report:
            return run(names, "smoke", levels, selection=selection, timeout=timeout, memory=2.0**30, quiet=True)

        yield call


@pytest.fixture(scope="module")
def at_relu(judge: Judge) -> Report:
    return judge(["numpy", "crash", "glutton", "shape", "dtype", "nan", "empty"], [1], OPERATORS)


def outcomes(report: Report, backend: str) -> dict[str, tuple[Verdict, str]]:
    return {r.case: (r.outcome.verdict, r.outcome.message) for r in report.results if r.backend == backend}


def test_the_honest_one_passes(at_relu: Report) -> None:
    found = outcomes(at_relu, "numpy")
    assert len(found) == 3
    assert {verdict for verdict, _ in found.values()} == {Verdict.PASS}
    assert not at_relu.passed


@pytest.mark.parametrize(
    ("liar", "verdict", "word"),
    [
        ("crash", Verdict.CRASH, "SIGSEGV"),
        ("glutton", Verdict.CRASH, "memory: the worker held"),
        ("shape", Verdict.FAIL, "shape is"),
        ("dtype", Verdict.FAIL, "dtype is float64"),
        ("nan", Verdict.FAIL, "NaN"),
        ("empty", Verdict.FAIL, "expected an array"),
    ],
)
def test_the_case_has_the_blame_and_the_run_goes_on(at_relu: Report, liar: str, verdict: Verdict, word: str) -> None:
    found = outcomes(at_relu, liar)
    assert found[RELU][0] is verdict
    assert word in found[RELU][1]
    others = [v for case, (v, _) in found.items() if case != RELU]
    assert others == [Verdict.PASS, Verdict.PASS]


def test_a_hang(judge: Judge) -> None:
    found = outcomes(judge(["hang"], [1], OPERATORS, 15.0), "hang")
    assert found[RELU][0] is Verdict.CRASH
    assert "hang: no answer within" in found[RELU][1]
    assert [v for case, (v, _) in found.items() if case != RELU] == [Verdict.PASS, Verdict.PASS]


@pytest.mark.parametrize(
    ("liar", "verdict"), [("late", Verdict.FAIL), ("memo", Verdict.FAIL), ("cribber", Verdict.ERROR)]
)
def test_an_answer_that_was_not_computed_for_the_question(judge: Judge, liar: str, verdict: Verdict) -> None:
    found = outcomes(judge([liar], [1], OPERATORS), liar)
    assert len(found) == 3
    assert {v for v, _ in found.values()} == {verdict}, found
    if liar == "cribber":
        assert all("judges backends" in message for _, message in found.values())


def test_steps_that_are_reported_and_not_done(judge: Judge) -> None:
    found = outcomes(judge(["idle"], [3], Selection("optimizers/")), "idle")
    assert len(found) >= 8
    assert {v for v, _ in found.values()} == {Verdict.FAIL}, found


def test_derivatives_that_were_not_computed_for_the_question(judge: Judge) -> None:
    chosen = Selection("gradients/generated/", frozenset({"Exp", "Softmax"}))
    found = outcomes(judge(["first_gradients"], [2], chosen), "first_gradients")
    assert len(found) >= 2
    assert {v for v, _ in found.values()} == {Verdict.FAIL}, found


def test_a_step_that_was_done_before(judge: Judge) -> None:
    found = outcomes(judge(["first_step"], [3], Selection("/step1")), "first_step")
    assert len(found) >= 4
    assert {v for v, _ in found.values()} == {Verdict.FAIL}, found
