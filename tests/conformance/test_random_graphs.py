"""Random graphs: the same for the same seed, small when they fail, judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymodel_conformance.cases import Undecided
from polymodel_conformance.client import Answer
from polymodel_conformance.random_graphs.case import questions
from polymodel_conformance.random_graphs.choices import Choices, Spent
from polymodel_conformance.random_graphs.judge import build
from polymodel_conformance.random_graphs.operators import TABLE
from polymodel_conformance.random_graphs.report import Found, RandomReport
from polymodel_conformance.random_graphs.run import run_random
from polymodel_conformance.random_graphs.shrink import shrink


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
