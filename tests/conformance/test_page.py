"""The report in a real browser, at the widths of a desk and of a phone: readable, clickable, without errors."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import polymodel as pm
from polymodel import nn
from polymodel_conformance.cases import GraphCase, Outcome, judged
from polymodel_conformance.reporting.drill import by_operator, drill, trajectories
from polymodel_conformance.reporting.evidence import keep
from polymodel_conformance.reporting.report import Report, Result
from polymodel_conformance.tolerance.verdict import Comparison, Verdict
from polymodel_conformance.workers.client import Answer

BACKENDS = ["torch", "tensorflow", "mxnet"]
WRONG = "forward/layer/classifier"
TEXT = "no kernel </script><b id='injected'>for this</b> & that"


def loaded() -> ModuleType:
    """browser.py beside this file."""
    spec = importlib.util.spec_from_file_location("browser", Path(__file__).with_name("browser.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def passing(case: str, level: int, family: str, backend: str, score: float, names: tuple[str, ...] = ("y",)) -> Result:
    found = [Comparison(n, Verdict.PASS, "rho", score, 4.0, score, 3.0, 2e-7, 5e-8, family=family) for n in names]
    return Result(case, level, family, backend, Outcome(Verdict.PASS, found), 0.01, operator="ReduceSum" if family == "sums" else "")


def written(folder: Path) -> Report:
    """A report of everything that a page can show, with a real failure: one element of one backend is off."""
    layers = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5))
    graph = pm.Model(layers, {"image": pm.TensorSpec((2, 2, 4, 4))}, ["logits"], seed=3).graph
    case = GraphCase(WRONG, 1, graph, lambda seed: {"image": np.random.default_rng(seed).standard_normal((2, 2, 4, 4)).astype("f")})
    case.prepare()
    right = case.expected["logits"].value.astype(np.float32)
    report = Report("quick", [1, 6, 12], BACKENDS, {"python": "3.11", "processor": "x" * 90}, seconds=71.2)
    for number, backend in enumerate(BACKENDS):
        got = right.copy()
        if backend == "mxnet":
            got[1, 2] += 0.01
        outcome = judged(Answer("done", {"logits": got}), case.expected, case.family)
        report.results.append(Result(WRONG, 1, case.family, backend, outcome, 0.2))
        if outcome.verdict.bad:
            keep(folder / "failures", WRONG, backend, outcome.message, case.job, case.expected, {"logits": 4.0}, got={"logits": got})
        for k in range(30):
            report.results.append(passing(f"forward/generated/a_rather_long_name_of_a_case_{k:02}", 1, "sums", backend, 0.1 * k))
        for step in range(1, 21):
            score = 0.3 + 0.1 * number + 0.02 * step
            report.results.append(passing(f"trajectory/lenet/adam/step{step:02}", 6, "trajectory", backend, score))
        names = tuple(f"scalar/loss@{i}" for i in range(1, 6))
        report.results.append(passing("trajectory/mlp/free", 6, "free trajectory", backend, 0.5, names))
    report.results.append(Result("special/conv/nan", 12, "special", "torch", Outcome(Verdict.ERROR, (), TEXT), 0.0))
    report.undecided["forward/x"] = "stands on a kink"
    mutant = {"group": "operators", "effect": True, "control": False, "case": "c", "score": "12", "limit": "4"}
    report.mutants = [{**mutant, "mutant": "epsilon twice", "backend": b, "caught": True} for b in BACKENDS]
    report.write(folder)
    return report


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def report(folder: Path) -> Report:
    return written(folder)


def test_what_a_failure_leaves_is_in_the_page(report: Report, folder: Path) -> None:
    (case,) = (c for c in drill(report, folder)["cases"] if c["id"] == WRONG)
    shown = case["on"]["mxnet"]["e"]
    assert [n["op"] for n in shown["nodes"]] == ["Conv", "Relu", "Flatten", "Gemm"]
    assert shown["inputs"][0]["type"] == "float32[2, 2, 4, 4]"
    (tensor,) = shown["tensors"]
    assert tensor["worst"][0]["at"] == [1, 2]
    assert sum(tensor["histogram"]) == 10
    assert tensor["histogram"][-4:] != [0, 0, 0, 0], "the wrong element stands apart"
    assert float(tensor["worst"][0]["rho"]) > 1e4
    assert (folder / shown["place"] / "run.py").is_file()
    assert "e" not in case["on"]["torch"]
    assert drill(report, None)["cases"]


def test_operators_have_a_cell_for_each_level(report: Report) -> None:
    assert by_operator(report) == {"ReduceSum": {b: {1: {"verdict": "pass", "judged": 30, "passed": 30}} for b in BACKENDS}}


def test_trainings_have_their_steps_in_order(report: Report) -> None:
    found = trajectories(report)
    assert set(found) == {"trajectory/lenet/adam", "trajectory/mlp/free"}
    assert [at for at, _ in found["trajectory/lenet/adam"]["on"]["mxnet"]] == list(range(1, 21))
    assert [at for at, _ in found["trajectory/mlp/free"]["on"]["torch"]] == [1, 2, 3, 4, 5]
    assert found["trajectory/lenet/adam"]["limit"] == 4.0


SIZES = {"desk": (1280, 900, False), "phone": (390, 844, True)}


@pytest.fixture(params=list(SIZES))
def window(request: pytest.FixtureRequest, report: Report, folder: Path) -> Iterator[Any]:
    browser = loaded()
    if why := browser.missing():
        pytest.skip(why)
    width, height, phone = SIZES[request.param]
    made = browser.Browser(width, height, phone=phone)
    try:
        made.name = request.param
        made.open(folder / "index.html")
        yield made
    finally:
        made.close()


def test_in_a_browser(window: Any, folder: Path) -> None:
    assert window.text("h1") == "2 of 157 results did not pass"
    assert window.run("return document.querySelector('h1').getBoundingClientRect().bottom < innerHeight"), "the verdict is seen first"
    assert window.run("return innerWidth") == SIZES[window.name][0]
    assert window.overflow() == 0
    assert window.run("return document.getElementById('injected')") is None
    window.picture(folder / f"{window.name}.png")

    window.click("button[data-family='sums']")  # from the matrix to its cases, to a case, and back
    assert window.text("dialog h2") == "sums, level 1"
    assert window.run("return document.querySelectorAll('dialog tbody tr').length") == 30
    assert window.overflow("dialog") == 0
    window.click("dialog tbody button")
    assert window.text("dialog h2").endswith("name_of_a_case_00")
    assert "polymodel conformance --levels 1 --match forward/generated/a_rather" in window.text("dialog .body")
    window.click("dialog .back")
    assert window.text("dialog h2") == "sums, level 1"
    window.click("dialog .close")
    assert window.run("return document.querySelector('dialog').open") is False

    window.click("details summary")
    window.click("button[data-operator='ReduceSum']")
    assert window.text("dialog h2") == "ReduceSum, level 1"
    assert window.run("return document.querySelectorAll('dialog tbody tr').length") == 30
    window.click("dialog .close")

    window.click(f"button[data-case='{WRONG}']")
    shown = window.text("dialog .body")
    for part in ("float32[2, 2, 4, 4]", "[1, 2]", "Conv", "python failures/mxnet/", f"polymodel reduce {WRONG} --backend mxnet"):
        assert part in shown
    assert window.run("return document.querySelectorAll('dialog .bars div').length") == 10
    assert window.overflow("dialog") == 0
    assert window.overflow() == 0
    window.picture(folder / f"{window.name}-case.png")
    window.click("dialog .close")

    window.run("document.querySelector('.plots').scrollIntoView()")
    assert window.run("return document.querySelectorAll('.plots svg').length") == 2
    assert window.run("return document.querySelector('.plots svg').getBoundingClientRect().width") > 250
    window.picture(folder / f"{window.name}-plots.png")
    window.click("button[data-case='special/conv/nan']")
    assert TEXT in window.text("dialog .body"), "text is shown, not obeyed"
    assert window.complaints() == []
    for end in ("", "-case", "-plots"):
        assert (folder / f"{window.name}{end}.png").stat().st_size > 10_000
