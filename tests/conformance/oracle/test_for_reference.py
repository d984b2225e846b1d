"""The reference evaluator with its wrong operators replaced computes what the oracle computes, in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import polymodel as pm
from polymodel.artifact.floor import reference_session, run_reference
from polymodel.graph import Graph
from polymodel_conformance.cases import all_feeds, plan_of
from polymodel_conformance.corpus.generated import FAMILIES
from polymodel_conformance.corpus.generated.row import entry_of, takes
from polymodel_conformance.oracle import evaluate
from polymodel_conformance.oracle.for_reference import REPLACED

ROUNDING = 1e-12
Feeds = Mapping[str, np.ndarray]
Sessions = Callable[[onnx.ModelProto], ReferenceEvaluator]


@lru_cache
def rows(op_type: str = "") -> list[tuple[str, Graph, Feeds]]:
    drawn = [
        (row.name, entry_of(row, "float64"))
        for family in FAMILIES
        for row in family.ROWS
        if takes(row, "float64") and op_type in ("", row.op)
    ]
    return [(name, entry.graph, entry.draw(0)) for name, entry in drawn]


@lru_cache
def exact(name: str) -> dict[str, np.ndarray]:
    graph, feeds = next((g, f) for n, g, f in rows() if n == name)
    full = all_feeds(graph, feeds)
    return evaluate(plan_of(graph, graph.outputs, full), full, record=False).outputs(graph.outputs)


def error(name: str, graph: Graph, feeds: Feeds, open_session: Sessions) -> str:
    """What is wrong with the evaluator's answer, "" when nothing is."""
    try:
        found = run_reference(open_session(graph.proto()), {**feeds, **graph.parameters, **graph.buffers})
    except Exception as problem:  # whatever an operator raises
        return repr(problem)
    for output, wanted in exact(name).items():
        got, wanted = found[output], wanted.astype(np.float64)
        if got.shape != wanted.shape:
            return f"shape {got.shape}, expected {wanted.shape}"
        limit = ROUNDING * np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0)
        if not np.allclose(got.astype(np.float64), wanted, rtol=0, atol=limit, equal_nan=True):
            return f"{got} for {wanted}"
    return ""


def test_every_generated_call_is_evaluated_as_the_oracle_does() -> None:
    found = {name: error(name, graph, feeds, reference_session) for name, graph, feeds in rows()}
    assert len(found) > 500
    assert {n: e for n, e in found.items() if e} == {}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("op_type", REPLACED)
def test_every_replacement_is_needed(op_type: str) -> None:
    """The evaluator of the onnx package refuses a call of it or computes something else; else it need not be listed."""
    assert any(error(*row, open_session=ReferenceEvaluator) for row in rows(op_type))


def test_a_model_with_sequence_lengths_is_verified(tmp_path: object) -> None:
    """The evaluator of the onnx package reads sequences to their ends, whatever their lengths."""
    text = """<ir_version: 9, opset_import: ["" : 21]>
    g (float[5,2,3] x, float[1,16,3] w, float[1,16,4] r, int32[2] lengths) => (float[5,1,2,4] y) {
        y = LSTM <hidden_size = 4> (x, w, r, , lengths)
    }"""
    path = f"{tmp_path}/lstm.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    rng = np.random.default_rng(0)
    inputs = {n: rng.standard_normal(s).astype(np.float32) for n, s in (("x", (5, 2, 3)), ("w", (1, 16, 3)), ("r", (1, 16, 4)))}
    found = pm.verify(path, backends=["torch"], inputs={**inputs, "lengths": np.array([3, 5], np.int32)})
    assert found.passed, found.failures()
    assert len(found.rows) == 3
