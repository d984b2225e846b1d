"""Old meanings that the version converter of the onnx package leaves behind: rewritten before it runs.

1. Before opset 7 PRelu takes one slope for each channel as a vector, and binary operators say at which axis the second
   input begins; since then arrays broadcast like NumPy's, from the last axis. The smaller one gets an axis of size 1 for
   each axis behind its own.
2. Upsample and Resize before opset 11 mean x_original = x_resized / scale; the converter makes a Resize with the later
   default half_pixel of both. The model is converted to opset 11 first, where the old meaning can be written down.
3. Scan of opset 8 runs over a batch: see old_scan.py.
4. Hardmax before opset 13 takes its input for a matrix, as Softmax does, which the converter rewrites.

What the standard took back later is rewritten before the checker, which refuses it, runs: GroupNormalization before opset
21 has a scale and a bias for each group.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, version_converter

from polymodel.artifact.old_scan import batched_scans

_UNIDIRECTIONAL = 7
"""The opset since which arrays broadcast from the last axis."""
_BINARY = frozenset({"Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Less", "Greater"})
_BY_CHANNEL = 21
"""The opset since which GroupNormalization has a scale for each channel."""
_OF_ONE_AXIS = 13
"""The opset since which Hardmax looks along one axis."""
_TRANSFORMS = 11
"""The opset since which Resize says how coordinates are transformed."""


def keep_old_meanings(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model of an old opset whose operators mean after conversion what they meant before."""
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    if opset < _UNIDIRECTIONAL and any(n.op_type == "PRelu" or _begins_at(n) is not None for n in model.graph.node):
        model = _aligned_from_the_end(model)
    if opset == 8 and any(n.op_type == "Scan" for n in model.graph.node):
        model = batched_scans(model)
    if opset < _OF_ONE_AXIS and any(n.op_type == "Hardmax" for n in model.graph.node):
        model = _hardmax_of_matrices(model)
    if opset < _TRANSFORMS and any(n.op_type in ("Upsample", "Resize") for n in model.graph.node):
        model = _resized_from_the_edge(model)
    return model


def without_deprecated(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model without GroupNormalization of groups: normalized, then scaled and moved with a number for each group."""
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    if opset >= _BY_CHANNEL:
        return model
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    _replace_old_groups(changed.graph)
    return changed


def _replace_old_groups(graph: onnx.GraphProto) -> None:
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _replace_old_groups(attribute.g)
        old = node.op_type == "GroupNormalization" and node.domain in ("", "ai.onnx")
        nodes.extend(_by_group(node) if old else [node])
    if len(nodes) != len(graph.node):
        del graph.node[:]
        graph.node.extend(nodes)


def _by_group(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """InstanceNormalization of (N, groups, the rest), which has a scale and a bias for each group."""
    x, scale, bias = node.input
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    y = node.output[0]
    shape, flat, wide = (f"{y}.{n}" for n in ("shape", "groups", "normal"))
    target = numpy_helper.from_array(np.array([0, given["num_groups"], -1]), f"{y}.grouping")
    epsilon = given.get("epsilon", 1e-5)
    return [
        helper.make_node("Constant", [], [target.name], value=target),
        helper.make_node("Shape", [x], [shape]),
        helper.make_node("Reshape", [x, target.name], [flat]),
        helper.make_node("InstanceNormalization", [flat, scale, bias], [wide], node.name, epsilon=epsilon),
        helper.make_node("Reshape", [wide, shape], [y]),
    ]


def _hardmax_of_matrices(model: onnx.ModelProto) -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.node[:]
    for node in model.graph.node:
        changed.graph.node.extend(_hardmax_of_matrix(node) if node.op_type == "Hardmax" else [node])
    return changed


def _hardmax_of_matrix(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    x, y = node.input[0], node.output[0]
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    sizes, flat, hard = (f"{y}.{n}" for n in ("sizes", "matrix", "hard"))
    return [
        helper.make_node("Shape", [x], [sizes]),
        helper.make_node("Flatten", [x], [flat], axis=axis),
        helper.make_node("Hardmax", [flat], [hard], node.name, axis=1),
        helper.make_node("Reshape", [hard, sizes], [y]),
    ]


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


def _begins_at(node: onnx.NodeProto) -> int | None:
    """The axis of the first input at which the second begins, where a binary operator says so."""
    given = {a.name: a.i for a in node.attribute}
    return given.get("axis") if node.op_type in _BINARY and given.get("broadcast") else None


def _aligned_from_the_end(model: onnx.ModelProto) -> onnx.ModelProto:
    typed = onnx.shape_inference.infer_shapes(model)
    graph = typed.graph
    ranks = {v.name: len(v.type.tensor_type.shape.dim) for v in (*graph.input, *graph.output, *graph.value_info)}
    ranks.update((t.name, len(t.dims)) for t in graph.initializer)
    taken = {n for node in graph.node for n in (*node.input, *node.output)} | set(ranks)
    nodes = []
    for node in graph.node:
        first, second = (ranks.get(n, 0) for n in node.input) if node.op_type == "PRelu" or _begins_at(node) is not None else (0, 0)
        start = 1 if node.op_type == "PRelu" else _begins_at(node) or 0
        behind = first - start - second
        if behind > 0 and second and (second == 1 or node.op_type != "PRelu"):
            name = node.input[1] + "_aligned"
            while name in taken:
                name += "_"
            taken.add(name)
            nodes.append(helper.make_node("Unsqueeze", [node.input[1]], [name], axes=list(range(second, second + behind))))
            node.input[1] = name
        if _begins_at(node) is not None:
            kept = [a for a in node.attribute if a.name != "axis"]
            del node.attribute[:]
            node.attribute.extend(kept)
        nodes.append(node)
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.node[:]
    changed.graph.node.extend(nodes)
    return changed
