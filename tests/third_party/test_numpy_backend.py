"""The example of a third party's backend: installed from its own package, judged, and trained with."""

from __future__ import annotations

import ast
import csv
import json
import re
from pathlib import Path

import pytest

from .conftest import EXAMPLE, ROOT, Polymodel

FORBIDDEN = {"torch", "tensorflow", "mxnet", "onnxruntime", "polymodel_conformance", "polymodel_torch"}


def code_lines(path: Path) -> int:
    """Lines that are neither blank, nor a comment, nor part of a docstring."""
    text = path.read_text()
    documented: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            first = node.body[0]
            documented |= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(1 for i, t in lines if i not in documented and t.strip() and not t.strip().startswith("#"))


def test_it_is_small_and_stands_alone() -> None:
    files = sorted((EXAMPLE / "polymodel_numpy").rglob("*.py"))
    assert 0 < sum(map(code_lines, files)) < 500
    for path in files:
        found = set(re.findall(r"^\s*(?:from|import) (\w+)", path.read_text(), re.MULTILINE))
        assert not found & FORBIDDEN, path
        private = re.findall(r"^\s*from polymodel\S* import .*\b_\w+", path.read_text(), re.MULTILINE)
        assert not private, f"{path} needs what is private: {private}"


def test_its_files_have_the_names_of_the_others() -> None:
    def names(folder: Path) -> set[str]:
        return {p.relative_to(folder).as_posix() for p in folder.rglob("*.py")}

    assert names(EXAMPLE / "polymodel_numpy") <= names(ROOT / "backends" / "polymodel_torch")


@pytest.mark.timeout(900)  # all levels
def test_it_agrees_with_the_standard(site: Path, polymodel: Polymodel, tmp_path: Path) -> None:
    done = polymodel([site], "conformance", "--backends", "numpy", "--profile", "smoke", "--report", "report", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    words = [r["verdict"] for r in report["results"]]
    assert words.count("pass") >= 60, words
    assert set(words) <= {"pass", "unclaimed", "not run"}
    assert {r["level"] for r in report["results"] if r["verdict"] == "not run"} <= {11}
    levels = {r["level"] for r in report["results"] if r["verdict"] == "pass"}
    assert levels == {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12}


@pytest.mark.timeout(900)  # it collects all of the standard's tests
@pytest.mark.parametrize("operators", ["Add,Mul,Div,Relu,Softmax,ReduceSum,MatMul,Gemm,Conv,MaxPool,AveragePool,Gather,Slice,Where"])
def test_its_operators_agree_with_the_standards_own_tests(
    operators: str, site: Path, polymodel: Polymodel, tmp_path: Path
) -> None:
    arguments = ("--backends", "numpy", "--levels", "1", "--profile", "quick", "--operators", operators)
    done = polymodel([site], "conformance", *arguments, "--report", "report", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    words = [r["verdict"] for r in json.loads((tmp_path / "report" / "report.json").read_text())["results"]]
    assert words.count("pass") >= 60, f"{words.count('pass')} of {len(words)}"


def test_what_it_lacks_is_said(site: Path, polymodel: Polymodel, tmp_path: Path) -> None:
    arguments = ("--backends", "numpy", "--levels", "1", "--profile", "smoke", "--operators", "LSTM,Relu")
    done = polymodel([site], "conformance", *arguments, "--report", "report", "--json")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "report" / "report.json").read_text())["results"]
    lacking = [r for r in results if r["verdict"] == "unclaimed"]
    assert lacking
    assert all("lstm" in r["case"] for r in lacking)
    assert any("no rule for ai.onnx::LSTM" in r["message"] for r in lacking)


def test_it_trains_the_digits(site: Path, polymodel: Polymodel, tmp_path: Path) -> None:
    settings = ("--set", "epochs=2", "--set", "schedule.length=2")
    done = polymodel([site], "train", ROOT / "examples" / "digits.yaml", "--backend", "numpy", *settings, "--output", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = list(csv.DictReader((tmp_path / "run" / "history.csv").read_text().splitlines()))
    assert len(rows) == 2
    assert float(rows[-1]["val_accuracy"]) > 0.8, rows
