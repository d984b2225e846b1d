"""Old meanings that the version converter of the onnx package leaves behind: rewritten before it runs.

1. PRelu before opset 7 takes one slope for each channel as a vector; since then slopes broadcast like NumPy arrays, from
   the last axis. The vector gets an axis of size 1 for each axis behind the channels.
"""

from __future__ import annotations

import onnx
from onnx import helper

_UNIDIRECTIONAL = 7
"""The opset since which PRelu broadcasts."""


def keep_old_meanings(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model of an old opset whose operators mean after conversion what they meant before."""
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    if opset < _UNIDIRECTIONAL and any(n.op_type == "PRelu" for n in model.graph.node):
        return _slopes_by_channel(model)
    return model


def _slopes_by_channel(model: onnx.ModelProto) -> onnx.ModelProto:
    typed = onnx.shape_inference.infer_shapes(model)
    graph = typed.graph
    ranks = {v.name: len(v.type.tensor_type.shape.dim) for v in (*graph.input, *graph.output, *graph.value_info)}
    ranks.update((t.name, len(t.dims)) for t in graph.initializer)
    taken = {n for node in graph.node for n in (*node.input, *node.output)} | set(ranks)
    nodes = []
    for node in graph.node:
        x, slope = (ranks.get(n, 0) for n in node.input) if node.op_type == "PRelu" else (0, 0)
        if slope == 1 and x > 2:
            name = node.input[1] + "_by_channel"
            while name in taken:
                name += "_"
            taken.add(name)
            nodes.append(helper.make_node("Unsqueeze", [node.input[1]], [name], axes=list(range(1, x - 1))))
            node.input[1] = name
        nodes.append(node)
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.node[:]
    changed.graph.node.extend(nodes)
    return changed
