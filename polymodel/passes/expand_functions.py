"""Plan -> Plan: an operator without a rule becomes other operators: our body of it, or the one that the standard defines.

1. A call is expanded when the table has no rule for it and there is a body: in polymodel/bodies, else in its schema.
2. The newest body is taken and lifted to the opset that rules are written for, so that a rule meets one version; one
   of a newer opset keeps it.
3. Attributes that the body refers to are filled in; one that was not given leaves the inner operator's default.
4. Values inside get the call's name in front; inputs and outputs of the call keep theirs. An optional input that was
   left out is left out inside.
5. Branches and loops of a body are written out (control_flow.py).
6. What can be computed ahead is computed ahead; calls of the body are expanded in turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import helper

from polymodel.bodies import BODIES, write_body
from polymodel.errors import Unsupported
from polymodel.inference import OPSET, schema, type_proto
from polymodel.passes.calls import Calls
from polymodel.passes.specialize import prune
from polymodel.plan import Node, Plan
from polymodel.rules import RuleTable
from polymodel.spec import TensorSpec

STANDARD = frozenset({"", "ai.onnx.ml"})


def expand_functions(plan: Plan, table: RuleTable, *, bodies: bool = True) -> Plan:
    """Replace calls that a backend has no rule for by their bodies.

    Args:
        plan: from `specialize`.
        table: rules of the backend that lowers it.
        bodies: whether bodies of polymodel/bodies are taken; else those of the standard only.

    Returns:
        A plan of the same meaning; the same plan when nothing had to be expanded.
    """
    own = BODIES if bodies else RuleTable("none")
    if not any((has_rule(own, node) or _has_body(node)) and not has_rule(table, node) for node in plan.nodes):
        return plan
    specs, known = dict(plan.specs), dict(plan.constants)
    nodes: list[Node] = []
    for node in plan.nodes:
        nodes.extend(_expand(node, table, own, specs, known))
    nodes = [_with_constants(node, known) for node in nodes]
    return prune(replace(plan, nodes=tuple(nodes), constants=known, specs=specs))


def expand_nodes(
    nodes: Sequence[Node], table: RuleTable, specs: dict[str, TensorSpec], known: dict[str, np.ndarray]
) -> list[Node]:
    """The same calls with those replaced that a backend has no rule for; what is made inside is added to both dicts."""
    found = [inner for node in nodes for inner in _expand(node, table, BODIES, specs, known)]
    return [_with_constants(node, known) for node in found]


def has_rule(table: RuleTable, node: Node) -> bool:
    """Whether a backend has a rule for a call, in its version."""
    try:
        table.find(node)
    except Unsupported:
        return False
    return True


def _has_body(node: Node) -> bool:
    if node.domain not in STANDARD:
        return False
    found: Any = schema(node.op_type, node.domain, node.version)  # its stub lacks the function members
    return bool(found.has_function or found.has_context_dependent_function)


def _with_constants(node: Node, known: Mapping[str, np.ndarray]) -> Node:
    return replace(node, constants={i: known[n] for i, n in enumerate(node.input_names) if n in known})


def _expand(
    node: Node, table: RuleTable, own: RuleTable, specs: dict[str, TensorSpec], known: dict[str, np.ndarray]
) -> list[Node]:
    if has_rule(table, node):
        return [node]
    if has_rule(own, node):
        written = write_body(node, specs, known)
        return [inner for call in written for inner in _expand(call, table, own, specs, known)]
    if not _has_body(node):
        return [node]
    body, opset = _body(node)
    calls = Calls(specs, known, {"": opset})
    for proto in body:
        calls.add(proto)
    return [inner for call in calls.nodes for inner in _expand(call, table, own, specs, known)]


def _body(node: Node) -> tuple[list[onnx.NodeProto], int]:
    """The calls inside with outer names, and their opset: OPSET or newer."""
    function = _function(node)
    actual = dict(zip(function.input, (*node.input_names, *[""] * len(function.input)), strict=False))
    actual.update(zip(function.output, (*node.output_names, *[""] * len(function.output)), strict=False))
    given: dict[str, Any] = {a.name: helper.get_attribute_value(a) for a in function.attribute_proto}
    given.update((n, v) for n, v in node.attributes.items() if v is not None)
    inner = _lift(node, function, actual, given)
    opset = next((o.version for o in function.opset_import if o.domain == ""), OPSET)
    for i, proto in enumerate(inner):
        proto.name = f"{node.key}/{proto.name or f'{proto.op_type}_{i}'}"
    return inner, max(opset, OPSET)


def _function(node: Node) -> onnx.FunctionProto:
    found: Any = schema(node.op_type, node.domain, node.version)  # its stub lacks the function members
    function = onnx.FunctionProto()
    if found.has_function:
        version = max(found.function_opset_versions)
        function.ParseFromString(found.get_function_with_opset_version(version))
        return function
    version = max(found.context_dependent_function_opset_versions)
    given = {n: _proto_value(v) for n, v in node.attributes.items() if v is not None}
    call = helper.make_node(node.op_type, node.input_names, node.output_names, domain=node.domain, **given)
    types = [(type_proto(s) if s is not None else onnx.TypeProto()).SerializeToString() for s in node.inputs]
    function.ParseFromString(
        found.get_context_dependent_function_with_opset_version(version, call.SerializeToString(), types)
    )
    return function


def _proto_value(value: Any) -> Any:
    return onnx.numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value


def _lift(
    node: Node, function: onnx.FunctionProto, actual: Mapping[str, str], given: Mapping[str, Any]
) -> list[onnx.NodeProto]:
    """The body's nodes at OPSET, with outer names and attributes filled in."""
    opset = next((o.version for o in function.opset_import if o.domain == ""), OPSET)
    nodes = [_filled(proto, given) for proto in function.node]
    for proto in nodes:
        proto.input[:] = [_outer(node, n, actual) for n in proto.input]
        proto.output[:] = [_outer(node, n, actual) for n in proto.output]
    if opset >= OPSET:
        return nodes
    made = {n for proto in nodes for n in proto.output}
    needed = dict(zip(node.input_names, node.inputs, strict=True))
    inputs = [helper.make_value_info(n, type_proto(s)) for n, s in needed.items() if n and s is not None]
    outputs = [helper.make_empty_tensor_value_info(n) for n in node.output_names if n in made]
    body = helper.make_graph(nodes, "body", inputs, outputs)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    lifted: onnx.ModelProto = onnx.version_converter.convert_version(model, OPSET)
    constants = [helper.make_node("Constant", [], [t.name], value=t) for t in lifted.graph.initializer]
    return [*constants, *lifted.graph.node]


def _outer(node: Node, name: str, actual: Mapping[str, str]) -> str:
    return actual.get(name, f"{node.key}/{name}") if name else ""


def _filled(proto: onnx.NodeProto, given: Mapping[str, Any]) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(proto)
    del copy.attribute[:]
    for attribute in proto.attribute:
        if not attribute.ref_attr_name:
            copy.attribute.append(attribute)
        elif attribute.ref_attr_name in given:
            value = _proto_value(given[attribute.ref_attr_name])
            copy.attribute.append(helper.make_attribute(attribute.name, value, attr_type=attribute.type or None))
    return copy
