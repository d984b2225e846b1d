"""Graph -> Plan: bind sizes, compute what is already known, drop what nobody reads.

1. Named sizes are replaced by the numbers given; the others stay unknown.
2. A Shape or Size that looks at known sizes only, and every node whose inputs are all known, becomes a constant
   (evaluated by the ONNX reference operators), so that backends see axes, sizes and counts as numbers.
3. Types and shapes of all other values follow from the standard's inference, node by node, with the known sizes.
4. Nodes that no wanted output needs are dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from polymodel.errors import GraphError, ShapeError
from polymodel.graph import Graph
from polymodel.inference import describe, infer, schema
from polymodel.plan import Node, Plan
from polymodel.spec import Dim, TensorSpec, spec_of

_MAX_FOLD = 1 << 20  # elements of a result that is computed ahead
_IMPURE = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
_IMPURE.add("Dropout")


def specialize(
    graph: Graph,
    outputs: Sequence[str],
    dims: Mapping[str, int] | None = None,
    values: Mapping[str, np.ndarray] | None = None,
) -> Plan:
    """Make a graph ready for lowering.

    Args:
        graph: what to lower.
        outputs: names of values to return; any value of the graph, not only its declared outputs.
        dims: numbers for named sizes; missing ones stay unknown.
        values: user inputs whose values are known (axes, counts fed from outside); they become constants.

    Raises:
        GraphError: an output does not exist.
        ShapeError, DtypeError: the graph does not fit together with these sizes.
    """
    body = graph.model.graph
    specs = {str(v.name): spec_of(v).bind(dims or {}) for v in body.inputs}
    feeds = {n: s for n, s in specs.items() if n not in (values or {})}
    known = {str(v.name): v.const_value.numpy() for v in body.initializers.values() if v.const_value is not None}
    known.update(values or {})
    specs.update((n, TensorSpec(a.shape, a.dtype.name)) for n, a in (values or {}).items())
    nodes: list[Node] = []
    for node in _needed(body, outputs):
        version = graph.opset if node.domain == "" else body.opset_imports[node.domain]
        call = lower_call(ir.to_proto(node), specs, known, version)
        if isinstance(call, Node):
            nodes.append(call)
            specs.update((n, s) for n, s in zip(call.output_names, call.outputs, strict=True) if n)
        else:
            known.update(call)
            specs.update((n, TensorSpec(a.shape, a.dtype.name)) for n, a in call.items())
    for name, array in known.items():
        specs.setdefault(name, TensorSpec(array.shape, array.dtype.name))
    for name in outputs:
        if name not in specs:
            raise GraphError(f"the graph has no value {name!r}; its outputs are {', '.join(graph.outputs)}")
    return prune(Plan(tuple(nodes), feeds, tuple(outputs), known, specs))


def prune(plan: Plan) -> Plan:
    """Drop nodes, inputs and constants that no output needs."""
    wanted, kept = set(plan.outputs), []
    for node in reversed(plan.nodes):
        if wanted.intersection(node.output_names):
            kept.append(node)
            wanted.update(n for n in node.input_names if n)
    return Plan(
        tuple(reversed(kept)),
        {n: s for n, s in plan.inputs.items() if n in wanted},
        plan.outputs,
        {n: a for n, a in plan.constants.items() if n in wanted},
        plan.specs,
    )


def required_inputs(graph: Graph, outputs: Sequence[str]) -> tuple[str, ...]:
    """Names of the user inputs that some values depend on."""
    read = {str(v.name) for node in _needed(graph.model.graph, outputs) for v in node.inputs if v is not None}
    return tuple(n for n in graph.inputs if n in read or n in outputs)


def _needed(body: ir.Graph, outputs: Iterable[str]) -> list[ir.Node]:
    wanted, kept = set(outputs), []
    for node in reversed(list(body)):
        if wanted.intersection(str(v.name) for v in node.outputs):
            kept.append(node)
            wanted.update(str(v.name) for v in node.inputs if v is not None)
    return kept[::-1]


def lower_call(
    proto: onnx.NodeProto, specs: Mapping[str, TensorSpec], known: Mapping[str, np.ndarray], opset: int
) -> Node | dict[str, np.ndarray]:
    """One operator call with its types, or the values of its outputs when they can be computed ahead.

    Args:
        proto: the call; its inputs are known by name.
        specs: of values made so far.
        known: values made so far that are known.
        opset: version of the call's domain.
    """
    names = tuple(proto.input)
    outs = tuple(proto.output)
    while outs[-1] == "":
        outs = outs[:-1]
    inputs = tuple(_spec(n, specs, known) if n else None for n in names)
    if proto.op_type in ("Shape", "Size") and proto.domain == "" and (s := inputs[0]) is not None:
        sizes = _sizes(proto, s)
        if all(isinstance(d, int) for d in sizes):
            return {outs[0]: np.array(sizes if proto.op_type == "Shape" else s.size, np.int64)}
    if not proto.name:
        proto.name = proto.op_type
    found = infer(proto, list(inputs), known, opset)
    if _foldable(proto, names, known, found):
        return _evaluate(proto, known, found)
    given = schema(proto.op_type, proto.domain, opset)
    return Node(
        op_type=proto.op_type,
        domain=proto.domain,
        version=given.since_version,
        name=proto.name,
        attributes=_attributes(proto, given),
        input_names=names,
        output_names=outs,
        inputs=inputs,
        outputs=tuple(found),
        constants={i: known[n] for i, n in enumerate(names) if n in known},
    )


def _spec(name: str, specs: Mapping[str, TensorSpec], known: Mapping[str, np.ndarray]) -> TensorSpec:
    if name in specs:
        return specs[name]
    if name in known:
        return TensorSpec(known[name].shape, known[name].dtype.name)
    raise GraphError(f"value {name!r} is used before it is made")


def _sizes(proto: onnx.NodeProto, spec: TensorSpec) -> Sequence[Dim]:
    """The sizes that a Shape or Size looks at."""
    given = {a.name: a.i for a in proto.attribute}
    start, end, rank = given.get("start", 0), given.get("end"), spec.rank
    start = min(max(start + rank if start < 0 else start, 0), rank)
    stop = rank if end is None else min(max(end + rank if end < 0 else end, 0), rank)
    return spec.shape[start : max(start, stop)]


def _foldable(
    proto: onnx.NodeProto, names: Sequence[str], known: Mapping[str, np.ndarray], found: Sequence[TensorSpec]
) -> bool:
    return (
        proto.domain == ""
        and proto.op_type not in _IMPURE
        and all(n in known for n in names if n)
        and all(s.is_static and s.size <= _MAX_FOLD for s in found)
        and not any(a.HasField("g") or a.graphs for a in proto.attribute)
    )


def _evaluate(
    proto: onnx.NodeProto, known: Mapping[str, np.ndarray], found: Sequence[TensorSpec]
) -> dict[str, np.ndarray]:
    from onnx.reference import ReferenceEvaluator

    try:
        results = ReferenceEvaluator(proto).run(None, {n: known[n] for n in proto.input if n})
    except Exception as error:  # operators of the evaluator raise whatever NumPy raises
        raise GraphError(f"{describe(proto, [])}: its constant inputs do not fit: {error}") from error
    values = {}
    for name, result, spec in zip((n for n in proto.output if n), results, found, strict=False):
        array = np.asarray(result)
        if array.shape != spec.shape:
            raise ShapeError(f"{proto.name} {proto.op_type}: computed {array.shape}, inferred {spec}")
        values[name] = array
    return values


def _attributes(proto: onnx.NodeProto, given: onnx.defs.OpSchema) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, formal in given.attributes.items():
        default = formal.default_value
        values[name] = (
            _plain(onnx.helper.get_attribute_value(default)) if default.type != onnx.AttributeProto.UNDEFINED else None
        )
    for each in proto.attribute:
        attribute = ir.from_proto(each)
        value = attribute.value
        values[each.name] = value.numpy() if attribute.type == ir.AttributeType.TENSOR else _plain(value)
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float):  # the standard's attributes are float32: what is lowered is what is exported
        return float(np.float32(value))
    if isinstance(value, str | int | ir.Graph):
        return value
    if isinstance(value, Sequence):
        return tuple(_plain(v) for v in value)
    return value
