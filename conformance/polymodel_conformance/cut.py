"""Pieces of a graph: some of its calls, fed with what stood in front of them.

A piece has as inputs the values that its calls read and do not make, and gets the reference values for them: so a piece is
blamed for its own error only. Its outputs are what the rest of the graph, or nobody, reads. Parameters, buffers and constants
stay what they are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from polymodel.graph import Graph
from polymodel.passes.control_flow import captured
from polymodel_conformance.cases import all_feeds, plan_of
from polymodel_conformance.oracle import evaluate

Arrays = Mapping[str, np.ndarray]


def names_inside(graph: Graph) -> list[str]:
    """Every value that a call of the graph makes, in order."""
    return [str(v.name) for node in graph.model.graph for v in node.outputs if v.name]


def inner_values(graph: Graph, feeds: Arrays) -> dict[str, np.ndarray]:
    """What the oracle computes for every value of a graph, what is fed and stored included."""
    full = all_feeds(graph, feeds)
    names = names_inside(graph)
    found = evaluate(plan_of(graph, names, full), full, record=False).values
    return {**full, **{n: found[n].array for n in names}}


def cut(graph: Graph, kept: Collection[int], values: Arrays) -> tuple[Graph, dict[str, np.ndarray]]:
    """A piece of a graph.

    Args:
        graph: stays as it is.
        kept: numbers of the calls that the piece has.
        values: the reference value of everything, see inner_values.

    Returns:
        The piece, and what to feed it: in the declared types, of the sizes of the values.

    Example:
        The second call of a graph alone is `cut(graph, {1}, inner_values(graph, feeds))`.
    """
    piece = graph.copy()
    body = piece.model.graph
    nodes = list(body)
    inside = [n for i, n in enumerate(nodes) if i in kept]
    outside = [n for i, n in enumerate(nodes) if i not in kept]
    read, elsewhere = _read(inside), {*_read(outside), *graph.outputs}
    made = [v for n in inside for v in n.outputs if v.name]
    ends = [v for v in made if v.name in elsewhere or v.name not in read]
    fed = [v for n in outside for v in n.outputs if v.name in read]
    del body.outputs[:]
    for node in reversed(outside):
        body.remove(node)
    for value in fed:
        source = ir.Value(name=value.name, shape=ir.Shape(values[str(value.name)].shape), type=value.type)
        ir.convenience.replace_all_uses_with(value, source)
        body.inputs.append(source)
    stored = {*graph.parameters, *graph.buffers}
    for value in list(body.inputs):
        if value.name not in read:
            body.inputs.remove(value)
        elif value.name not in stored:
            value.shape = ir.Shape(values[str(value.name)].shape)
    for name in [n for n in body.initializers if n not in read]:
        del body.initializers[name]
    for value in made:  # sizes follow from the inputs' own
        value.shape = None if value.shape is None else ir.Shape([None] * len(value.shape))
    body.outputs.extend(ends)
    inputs = tuple(str(v.name) for v in body.inputs if v.name not in stored)
    found = replace(
        piece, inputs=inputs, outputs=tuple(str(v.name) for v in ends), updates={}, streams={}, frozen=frozenset(),
        parameters={n: a for n, a in graph.parameters.items() if n in read},
        buffers={n: a for n, a in graph.buffers.items() if n in read},
    )  # fmt: skip
    types = {str(v.name): v.type.dtype.numpy() for v in body.inputs if v.type is not None}
    return found, {n: np.asarray(values[n]).astype(types[n], copy=False) for n in inputs}


def exposed(graph: Graph, names: Collection[str]) -> Graph:
    """The same graph with other outputs: any values inside it."""
    if tuple(names) == graph.outputs:
        return graph
    changed = graph.copy()
    body = changed.model.graph
    there = {str(v.name): v for v in (*body.inputs, *(v for n in body for v in n.outputs))}
    del body.outputs[:]
    body.outputs.extend(there[n] for n in names)
    return replace(changed, outputs=tuple(names), updates={})


def _read(nodes: Collection[ir.Node]) -> set[str]:
    """Names that calls read, those inside their subgraphs included."""
    plain = {str(v.name) for n in nodes for v in n.inputs if v is not None}
    nested = {n for node in nodes if _has_graph(node) for n in captured(ir.to_proto(node))}
    return plain | nested


def _has_graph(node: ir.Node) -> bool:
    return any(a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.values())
