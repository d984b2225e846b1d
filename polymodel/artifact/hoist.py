"""Weights inside the branches and bodies of control flow -> stored tensors of the whole graph.

An If that chooses between two networks keeps the weights of both inside its branches, where nobody could train them. A
branch may read values of the graph around it, so its floating-point constants with more than one element move there,
and the meaning stays. A name that is taken gets the name of the control-flow call's output in front.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import onnx
from onnx import GraphProto, NodeProto, TensorProto

_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16})


def hoist(graph: GraphProto) -> None:
    """Move weights out of subgraphs, in place."""
    inner = [(node, sub) for node in graph.node for sub in _subgraphs(node)]
    if not inner:
        return
    taken = {v.name for v in (*graph.input, *graph.initializer)} | {n for node in graph.node for n in node.output}
    for node, sub in inner:
        _hoist(sub, node, graph, taken)


def _hoist(sub: GraphProto, owner: NodeProto, outer: GraphProto, taken: set[str]) -> None:
    for node in sub.node:
        for deeper in _subgraphs(node):
            _hoist(deeper, node, outer, taken)
    returned = {v.name for v in sub.output}
    fed = {v.name for v in sub.input}
    moved: dict[str, str] = {}
    stored = [t for t in sub.initializer if t.name not in returned | fed and _is_weight(t)]
    made = [(n, n.attribute[0].t) for n in sub.node if _is_constant(n) and n.output[0] not in returned]
    weights = [(t.name, t) for t in stored] + [(n.output[0], t) for n, t in made if _is_weight(t)]
    for name, tensor in weights:
        new, i = name, 0
        while new in taken:
            new = f"{next(o for o in owner.output if o)}.{name}" + (f"_{i}" if i else "")
            i += 1
        taken.add(new)
        moved[name] = new
        copy = outer.initializer.add()
        copy.CopyFrom(tensor)
        copy.name = new
    if not moved:
        return
    kept = [t for t in sub.initializer if t.name not in moved]
    del sub.initializer[:]
    sub.initializer.extend(kept)
    nodes = [n for n in sub.node if not (_is_constant(n) and n.output[0] in moved)]
    del sub.node[:]
    sub.node.extend(nodes)
    _rename(sub, moved)


def _rename(graph: GraphProto, names: dict[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(n, n) for n in node.input]
        for sub in _subgraphs(node):
            own = {v.name for v in sub.input} | {o for inner in sub.node for o in inner.output}
            _rename(sub, {n: new for n, new in names.items() if n not in own})


def _is_constant(node: NodeProto) -> bool:
    return node.op_type == "Constant" and node.domain in ("", "ai.onnx") and [a.name for a in node.attribute] == ["value"]


def _is_weight(tensor: TensorProto) -> bool:
    return tensor.data_type in _FLOATS and prod(tensor.dims) > 1


def _subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs
