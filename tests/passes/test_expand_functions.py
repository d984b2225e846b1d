"""Expanded bodies compute what the operator computes, and use only operators that the table has."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from polymodel.builder import Builder
from polymodel.graph import Graph
from polymodel.passes.expand_functions import expand_functions
from polymodel.passes.specialize import specialize
from polymodel.plan import Plan
from polymodel.rules import RuleTable
from polymodel.spec import TensorSpec


def has_body(schema: Any) -> bool:
    return bool(schema.has_function or schema.has_context_dependent_function)


def primitives() -> RuleTable:
    """A table with a rule for every operator that has no function body."""
    newest: dict[str, onnx.defs.OpSchema] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "" and schema.since_version <= 23 and not schema.deprecated:
            other = newest.setdefault(schema.name, schema)
            newest[schema.name] = max(other, schema, key=lambda s: s.since_version)
    table = RuleTable("primitives")
    for schema in newest.values():
        if not has_body(schema):
            table.rule(schema.name, since=schema.since_version)(lambda node, *inputs: None)
    return table


TABLE = primitives()


def evaluate(plan: Plan, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    values = {**plan.constants, **feeds}
    for node in plan.nodes:
        given = {k: v for k, v in node.attributes.items() if v is not None}
        given.pop("round_mode", None)
        proto = onnx.helper.make_node(node.op_type, node.input_names, node.output_names, **given)
        results = ReferenceEvaluator(proto).run(None, {n: values[n] for n in node.input_names if n})
        assert isinstance(results, list)
        values.update(zip(node.output_names, results, strict=True))
    return [values[n] for n in plan.outputs]


def graph_of(op_type: str, shapes: list[tuple[int, ...]], outputs: int = 1, **attributes: Any) -> Graph:
    b = Builder()
    with b.active():
        inputs = [b.input(f"x{i}", TensorSpec(s)) for i, s in enumerate(shapes)]
        for i, y in enumerate(b.ops(op_type, *inputs, outputs=outputs, **attributes)):
            b.output(f"y{i}", y)
    return b.finish()


CASES = [
    ("Gelu", [(3, 4)], 1, {}),
    ("Gelu", [(3, 4)], 1, {"approximate": "tanh"}),
    ("Softplus", [(5,)], 1, {}),
    ("HardSwish", [(5,)], 1, {}),
    ("LayerNormalization", [(2, 3, 8), (8,), (8,)], 3, {"epsilon": 1e-3}),
    ("LayerNormalization", [(2, 3, 8), (3, 8)], 1, {"axis": 1}),
    ("GroupNormalization", [(2, 6, 3), (6,), (6,)], 1, {"num_groups": 3}),
    ("LogSoftmax", [(2, 7)], 1, {"axis": -1}),
    ("MeanVarianceNormalization", [(2, 3, 4, 4)], 1, {}),
    ("Elu", [(4,)], 1, {"alpha": 0.5}),
    ("Attention", [(1, 2, 3, 4), (1, 2, 5, 4), (1, 2, 5, 4)], 1, {"is_causal": 1}),
]


@pytest.mark.parametrize(("op_type", "shapes", "outputs", "attributes"), CASES)
def test_body_means_the_operator(
    op_type: str, shapes: list[tuple[int, ...]], outputs: int, attributes: dict[str, Any]
) -> None:
    graph = graph_of(op_type, shapes, outputs, **attributes)
    plan = specialize(graph, graph.outputs)
    expanded = expand_functions(plan, TABLE)
    rng = np.random.default_rng(0)
    feeds = {f"x{i}": rng.standard_normal(s).astype(np.float32) for i, s in enumerate(shapes)}
    expected = ReferenceEvaluator(graph.proto()).run(None, feeds)
    assert isinstance(expected, list)
    assert all(("", n.op_type) in TABLE for n in expanded.nodes), [n.op_type for n in expanded.nodes]
    for got, want in zip(evaluate(expanded, feeds), expected, strict=True):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_what_the_table_has_stays() -> None:
    table = RuleTable("has gelu")
    table.rule("Gelu", since=20)(lambda node, x: x)
    graph = graph_of("Gelu", [(3,)])
    plan = specialize(graph, graph.outputs)
    assert expand_functions(plan, table) is plan


def test_optional_input_left_out_stays_left_out() -> None:
    graph = graph_of("LayerNormalization", [(2, 8), (8,)])
    expanded = expand_functions(specialize(graph, graph.outputs), TABLE)
    assert set(expanded.inputs) == {"x0", "x1"}


def test_an_attribute_that_the_body_takes_over_keeps_its_type() -> None:
    graph = graph_of("Bernoulli", [(2, 3)], seed=3.0)
    plan = expand_functions(specialize(graph, graph.outputs), TABLE)
    (draw,) = [n for n in plan.nodes if n.op_type == "RandomUniformLike"]
    assert draw.attr("seed") == 3.0
