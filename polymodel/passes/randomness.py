"""Dropout operators in training mode -> masks that come in as streams.

1. Dropout(data, ratio, training_mode=True) becomes data * (Cast(mask) * 1/(1 - ratio)), where mask is a new stream:
   a bool input of the data's shape, True with probability 1 - ratio, filled by the program from random.py.
2. Its mask output becomes the stream itself.
3. With ratio 0 the node becomes Identity. Dropout not in training mode is left alone.

The stream is named after the node, so its bits do not depend on what else is in the graph.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from polymodel.errors import GraphError
from polymodel.graph import Graph, RandomStream
from polymodel.spec import numpy_dtype, spec_of


def reproducible(graph: Graph) -> Graph:
    """Replace the Dropout operators of a training graph by streams.

    Raises:
        GraphError: a ratio or training_mode is not a constant.
    """
    new = graph.copy()
    body = new.model.graph
    streams = dict(graph.streams)
    for node in list(body):
        if node.domain == "" and node.op_type == "Dropout" and _constant(node, 2, False):
            ratio = _constant(node, 1, 0.5)
            data = node.inputs[0]
            assert data is not None
            nodes = _kept(data, ratio, node, body, streams) if ratio > 0 else [_identity(data, node)]
            for made in nodes:
                body.insert_before(node, made)
            _replace(node, nodes, body)
    return replace(new, streams=streams)


def _constant(node: ir.Node, i: int, default: float) -> float:
    value = node.inputs[i] if i < len(node.inputs) else None
    if value is None:
        return default
    array = value.const_value
    if array is None and (made := value.producer()) is not None and made.op_type == "Constant":
        array = made.attributes["value"].as_tensor()
    if array is None:
        raise GraphError(
            f"{node.name!r} Dropout: {('ratio', 'training_mode')[i - 1]} is computed, expected a constant: train with "
            "randomness='native'"
        )
    return float(array.numpy())


def _kept(
    data: ir.Value, ratio: float, node: ir.Node, body: ir.Graph, streams: dict[str, RandomStream]
) -> list[ir.Node]:
    spec = spec_of(data)
    name = f"{node.name or node.outputs[0].name}.mask"
    mask = ir.Value(name=name, shape=data.shape, type=ir.TensorType(ir.DataType.BOOL))
    body.inputs.append(mask)
    streams[name] = RandomStream(name, replace(spec, dtype="bool"), ratio)
    factor = ir.tensor(np.asarray(1 / (1 - ratio), numpy_dtype(spec.dtype)), name=f"{name}.scale")
    scale = ir.Value(name=factor.name, shape=ir.Shape(()), type=data.type, const_value=factor)
    body.register_initializer(scale)
    assert data.dtype is not None
    cast = _node("Cast", [mask], f"{name}.cast", data, to=data.dtype.value)
    scaled = _node("Mul", [cast.outputs[0], scale], f"{name}.scaled", data)
    return [cast, scaled, _node("Mul", [data, scaled.outputs[0]], f"{name}.applied", data)]


def _identity(data: ir.Value, node: ir.Node) -> ir.Node:
    return _node("Identity", [data], f"{node.name or node.outputs[0].name}.kept", data)


def _node(op_type: str, inputs: list[ir.Value], name: str, like: ir.Value, **attributes: int) -> ir.Node:
    out = ir.Value(name=f"{name}.out", shape=like.shape, type=like.type)
    return ir.node(op_type, inputs, attributes, outputs=[out], name=name)


def _replace(node: ir.Node, nodes: list[ir.Node], body: ir.Graph) -> None:
    old, new = node.outputs[0], nodes[-1].outputs[0]
    name = old.name
    old.name = None
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    new.name = name
    if len(node.outputs) > 1 and (list(node.outputs[1].uses()) or node.outputs[1] in body.outputs):
        _replace_mask(node.outputs[1], nodes, node, body)
    body.remove(node, safe=True)


def _replace_mask(old: ir.Value, nodes: list[ir.Node], node: ir.Node, body: ir.Graph) -> None:
    name = str(old.name)
    if len(nodes) == 1:
        raise GraphError(f"{node.name!r} Dropout: its ratio is 0 and its mask {name!r}, all True, is used: remove it")
    old.name = None
    copy = _node("Identity", [nodes[0].inputs[0]], f"{name}.copy", old)  # type: ignore[list-item]
    body.insert_before(node, copy)
    ir.convenience.replace_all_uses_with(old, copy.outputs[0], replace_graph_outputs=True)
    copy.outputs[0].name = name
