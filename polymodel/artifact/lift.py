"""Old meanings that the version converter of the onnx package leaves behind: rewritten before it runs.

1. PRelu before opset 7 takes one slope for each channel as a vector; since then slopes broadcast like NumPy arrays, from
   the last axis. The vector gets an axis of size 1 for each axis behind the channels.
2. Upsample and Resize before opset 11 mean x_original = x_resized / scale; the converter makes a Resize with the later
   default half_pixel of both. The model is converted to opset 11 first, where the old meaning can be written down.
3. Scan of opset 8 runs over a batch: see old_scan.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx
from onnx import helper, numpy_helper, version_converter

from polymodel.artifact.old_scan import batched_scans

_UNIDIRECTIONAL = 7
"""The opset since which PRelu broadcasts."""
_TRANSFORMS = 11
"""The opset since which Resize says how coordinates are transformed."""


def keep_old_meanings(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model of an old opset whose operators mean after conversion what they meant before."""
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    if opset < _UNIDIRECTIONAL and any(n.op_type == "PRelu" for n in model.graph.node):
        model = _slopes_by_channel(model)
    if opset == 8 and any(n.op_type == "Scan" for n in model.graph.node):
        model = batched_scans(model)
    if opset < _TRANSFORMS and any(n.op_type in ("Upsample", "Resize") for n in model.graph.node):
        model = _resized_from_the_edge(model)
    return model


def _resized_from_the_edge(model: onnx.ModelProto) -> onnx.ModelProto:
    model = version_converter.convert_version(model, _TRANSFORMS)
    scales = dict(_constants(model.graph))
    for node in model.graph.node:
        if node.op_type == "Resize":
            _set(node, "coordinate_transformation_mode", "asymmetric")
            _set(node, "nearest_mode", _rounding(scales.get(node.input[2])))
    return model


def _rounding(scales: Any) -> str:
    """Before opset 11 places were rounded down where an axis gets longer, up where it gets shorter."""
    shorter = scales is not None and (scales < 1).any() and not (scales > 1).any()
    return "ceil" if shorter else "floor"


def _constants(graph: onnx.GraphProto) -> Iterator[tuple[str, Any]]:
    for tensor in graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 1:
            yield tensor.name, numpy_helper.to_array(tensor)
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            yield node.output[0], numpy_helper.to_array(node.attribute[0].t)


def _set(node: onnx.NodeProto, name: str, value: str) -> None:
    kept = [a for a in node.attribute if a.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


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
