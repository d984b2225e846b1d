"""Every differentiable operator of the standard has a gradient case, in both element types where it takes both."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from polymodel_conformance.corpus.differentiable import IN_TRUTH, UNTAGGED, differentiable_operators
from polymodel_conformance.corpus.entry import Entry
from polymodel_conformance.corpus.generated import generated
from polymodel_conformance.corpus.generated.row import opset_of
from polymodel_conformance.levels.gradients import case_of
from polymodel_conformance.tolerance.families import FAMILY


def operators(entries: Iterable[Entry]) -> set[str]:
    """Operators of the entries that have a gradient case."""
    return {n.op_type for e in entries if case_of(e) is not None for n in e.graph.model.graph}


def test_every_differentiable_operator_has_a_generated_gradient_case() -> None:
    expected = differentiable_operators()
    assert len(expected) >= 130
    found = operators(generated())
    assert not expected - found


def test_every_differentiable_operator_that_takes_float64_has_a_float64_case() -> None:
    def takes_double(op: str) -> bool:
        known = onnx.defs.get_schema(op, opset_of(op))
        allowed = {c.type_param_str: c.allowed_type_strs for c in known.type_constraints}
        return "tensor(double)" in allowed.get(known.inputs[0].type_str, [])

    found = operators(e for e in generated() if e.name.endswith("_float64"))
    special = {"Cast", "CastLike", "Where", "OneHot", "DequantizeLinear"}  # the float is not their first input, or is both
    missing = {op for op in differentiable_operators() - special if takes_double(op)} - found
    assert not missing


def test_operators_that_are_differentiable_in_truth_exist() -> None:
    for op, formal in IN_TRUTH:
        known = onnx.defs.get_schema(op)
        assert formal in {p.name for p in (*known.inputs, *known.outputs)}, (op, formal)
    assert {s.name for s in onnx.defs.get_all_schemas()} >= UNTAGGED


def test_every_generated_operator_has_a_family() -> None:
    assert {n.op_type for e in generated() for n in e.graph.model.graph} <= set(FAMILY)


def test_names_are_unique() -> None:
    names = [e.name for e in generated()]
    assert len(names) == len(set(names)) >= 900
