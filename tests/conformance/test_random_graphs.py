"""Random graphs: the same for the same seed, small when they fail, judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymodel.builder import Builder
from polymodel.spec import TensorSpec
from polymodel_conformance.cases import Undecided, judged
from polymodel_conformance.random_graphs.case import questions
from polymodel_conformance.random_graphs.choices import Choices, Spent
from polymodel_conformance.random_graphs.judge import build
from polymodel_conformance.random_graphs.known import line_of
from polymodel_conformance.random_graphs.operators import TABLE
from polymodel_conformance.random_graphs.record import Record
from polymodel_conformance.random_graphs.report import Found, RandomReport
from polymodel_conformance.random_graphs.run import run_random
from polymodel_conformance.random_graphs.shrink import shrink
from polymodel_conformance.random_graphs.sketch import Sample
from polymodel_conformance.tolerance.verdict import Verdict
from polymodel_conformance.workers.client import Answer


def test_a_seed_names_a_graph() -> None:
    for number in range(20):
        one, two = (build(Choices.of_seed(3, number)) for _ in range(2))
        assert one is not None
        assert two is not None
        assert one.graph.hash == two.graph.hash
        again = build(Choices(one.drawn))
        assert again is not None
        assert again.graph.hash == one.graph.hash, "the choices are the graph"


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 1 << 20), max_size=60))
def test_every_row_of_numbers_means_a_sound_graph_or_none(row: list[int]) -> None:
    try:
        found = build(Choices(row))
    except Spent:
        return
    if found is not None:
        model = found.graph.proto()
        onnx.checker.check_model(model)
        assert 1 <= len(model.graph.node) <= 40
        assert set(found.feeds) == set(found.graph.inputs)


def test_the_table_covers_the_families() -> None:
    operators = {op for i in range(300) if (s := build(Choices.of_seed(0, i))) for op in s.operators}
    assert len(operators) > 100
    assert {"Conv", "Resize", "ScatterElements", "LSTM", "Where", "TopK", "CumSum", "Pad", "Softmax", "Gemm"} <= operators
    assert len(TABLE) > 60


def test_a_failure_becomes_small() -> None:
    """Every graph with a Gather "fails": what is left is one Gather of little data."""
    start = next(s for i in range(200) if (s := build(Choices.of_seed(1, i))) and "Gather" in s.operators and len(s.operators) > 5)
    small = shrink(start, build, lambda s: "Gather" in s.operators, seconds=120)
    assert small.operators == ("Gather",)


def test_wrong_values_are_seen() -> None:
    """The oracle's own answers pass; one element changed by a ten-thousandth does not."""
    asked = 0
    for number in range(30):
        drawn = build(Choices.of_seed(2, number))
        assert drawn is not None
        try:
            question = questions(drawn)[0]
        except Undecided:
            continue
        arrays = {n: e.value.astype(e.dtype) for n, e in question.expected.items()}
        assert not question.judge(Answer("done", arrays)).verdict.bad
        name = next((n for n, a in arrays.items() if a.dtype.kind == "f" and a.size and np.abs(a.flat[0]) > 0.1), None)
        if name is not None and float(np.max(question.expected[name].spread)) < 1e-6:  # type: ignore[arg-type]
            wrong = arrays[name].copy()
            wrong.flat[0] *= 1.0001
            asked += 1
            assert question.judge(Answer("done", {**arrays, name: wrong})).verdict.bad
    assert asked > 10


def test_the_quick_profile_on_one_backend(tmp_path: Path) -> None:
    report = run_random(["torch"], 60, seed=0, report_dir=tmp_path, quiet=True)
    assert report.exit_code == 0, str(report)
    assert report.judged["torch", "predict", "pass"] > 50
    assert (tmp_path / "random.json").exists()


def test_a_missing_backend_is_code_3() -> None:
    report = run_random(["torch"], 1, pythons={"torch": "/no/python"}, quiet=True)
    assert (report.exit_code, list(report.unavailable)) == (3, ["torch"])


def test_an_unknown_failure_is_code_1() -> None:
    found = Found("torch predict Add", [1], "fail", "differs", ())
    assert RandomReport(1, 0, failures={found.key: found}).exit_code == 1
    assert RandomReport(1, 0, failures={found.key: replace(found, reason="known")}).exit_code == 0


def test_drawing_ends() -> None:
    choices = Choices()
    with pytest.raises(Spent):
        [choices.below(2) for _ in range(3000)]


def test_a_record_goes_on_where_it_ended(tmp_path: Path) -> None:
    record = Record(tmp_path / "record.json")
    assert list(record.missing(0, 1200, 500)) == [(0, 500), (500, 500), (1000, 200)]
    failed = Found("torch predict Add", [3], "fail", "differs", ())
    record.add(RandomReport(500, 0, failures={failed.key: failed}))
    record.add(RandomReport(100, 0, first=1000))
    again = Record(tmp_path / "record.json")
    assert list(again.missing(0, 1200, 500)) == [(500, 500), (1100, 100)]
    assert list(again.missing(1, 3, 500)) == [(0, 3)]
    assert again.total()["unexplained"] == {"torch predict Add": ["0:3"]}
    again.mended["torch predict Add"] = "adds now"
    assert (again.total()["unexplained"], again.total()["mended"]) == ({}, {"torch predict Add": ["0:3"]})
    assert (again.total()["graphs"], len(again.pieces[0]["code"])) == (600, 12)


def test_a_bare_floor_decides_as_the_measured_one() -> None:
    """What passes without the measured floor passes with it; what is wrong fails either way."""
    for number in range(12):
        drawn = build(Choices.of_seed(4, number))
        assert drawn is not None
        try:
            question = questions(drawn)[0]
        except Undecided:
            continue
        for factor in (1.0, 1.0 + 2.0**-22, 1.001):
            answer = Answer("done", {n: (e.value * factor).astype(e.dtype) for n, e in question.expected.items() if e.dtype != "bool"})
            full = judged(answer, question.expected, question.family)
            assert question.judge(answer).verdict.bad == full.verdict.bad


def test_an_expected_failure_is_named_by_operators_and_attributes() -> None:
    b = Builder()
    b.output("y", b.op("MaxPool", b.input("x", TensorSpec((1, 1, 5), "float32")), kernel_shape=[2], dilations=[2], auto_pad="SAME_UPPER"))
    small = Sample(b.finish(), {"x": np.zeros((1, 1, 5), np.float32)}, (), ("MaxPool",), False, {})
    name = "onnxruntime predict MaxPool"
    lines = {f"{name} dilated=1 same=1": "why", f"{name} dtype=float64": "why", "onnxruntime predict LSTM+... suspicious=1": "why"}
    assert line_of(name, small, lines, Verdict.FAIL) == f"{name} dilated=1 same=1"
    assert line_of("torch predict MaxPool", small, lines, Verdict.FAIL) == ""
    assert line_of("onnxruntime predict LSTM+Neg", small, lines, Verdict.FAIL) == ""
    assert line_of("onnxruntime predict LSTM+Neg", small, lines, Verdict.SUSPICIOUS).startswith("onnxruntime predict LSTM+...")
    steady, unsteady = f"{name} dilated=1", f"{name}+... dilated=1 unsteady=1"
    assert line_of(f"{name}+Sign once", small, {steady: "why", unsteady: "why"}, Verdict.FAIL) == unsteady
    assert line_of(name, small, {unsteady: "why"}, Verdict.FAIL) == unsteady
    assert line_of("onnxruntime predict Sign once", small, {unsteady: "why"}, Verdict.FAIL) == ""


@pytest.mark.parametrize(("start", "undecided"), [(2.0, True), (2.5, False), (0.0, False)])
def test_a_cast_to_integers_beside_a_whole_number_is_undecided(start: float, undecided: bool) -> None:
    b = Builder()
    x = b.input("x", TensorSpec((1,), "float32"))
    b.output("y", b.op("Cast", b.op("Add", b.op("Sin", x), np.float32(start - np.sin(np.float32(0.3)))), to=7))
    small = Sample(b.finish(), {"x": np.full(1, 0.3, np.float32)}, (), ("Sin", "Add", "Cast"), False, {})
    if undecided:
        with pytest.raises(Undecided, match="kink"):
            questions(small)
    else:
        assert len(questions(small)) == 1
