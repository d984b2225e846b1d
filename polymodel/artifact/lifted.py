"""What the standard's version converter leaves behind, written the way the standard has it now.

Before opset 13 Softmax, LogSoftmax and Hardmax took their input for a matrix: the axes from `axis` on were one. The
converter writes Shape, Flatten, the operator over the last axis, and Reshape back. Where all of those axes but one have
size 1 (or there is only one) this is the operator over that axis, and it is written so: one call, whose shape does not
hide behind a computed one.
"""

from __future__ import annotations

import onnx_ir as ir

_COERCED = frozenset({"Softmax", "LogSoftmax", "Hardmax"})


def tidy(model: ir.Model) -> None:
    """Simplify a lifted model in place; names of values that stay are those of the file."""
    body = model.graph
    for node in list(body):
        if node.op_type in _COERCED and not node.domain:
            _uncoerce(node, body)


def _uncoerce(node: ir.Node, body: ir.Graph) -> None:
    flat = node.inputs[0].producer() if node.inputs[0] is not None else None
    if flat is None or flat.op_type != "Flatten" or len(list(node.outputs[0].uses())) != 1:
        return
    data = flat.inputs[0]
    back, place = next(iter(node.outputs[0].uses()))
    target = back.inputs[1] if back.op_type == "Reshape" and place == 0 else None
    sizes = target.producer() if target is not None else None
    if sizes is None or sizes.op_type != "Shape" or sizes.attributes or data is None or sizes.inputs[0] is not data:
        return
    axis = _only_axis(data, flat)
    if axis is None or not _is_last(node):
        return
    node.replace_input_with(0, data)
    node.attributes["axis"] = ir.AttrInt64("axis", axis)
    old, new = back.outputs[0], node.outputs[0]
    name, old.name = old.name, None
    new.shape, new.type = data.shape, data.type
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    new.name = name
    body.remove(back, safe=True)
    for dead in (sizes, flat):
        if not list(dead.outputs[0].uses()) and dead.outputs[0] not in body.outputs:
            body.remove(dead, safe=True)


def _is_last(node: ir.Node) -> bool:
    axis = node.attributes.get("axis")
    return axis is None or axis.as_int() in (-1, 1)


def _only_axis(data: ir.Value, flat: ir.Node) -> int | None:
    """The axis that the flattened axes amount to; None when several may be longer than 1."""
    if data.shape is None:
        return None
    start = flat.attributes["axis"].as_int() if "axis" in flat.attributes else 1
    start += len(data.shape) if start < 0 else 0
    axes = list(range(start, len(data.shape)))
    long = [a for a in axes if data.shape[a] != 1]
    return None if not axes or len(long) > 1 else (long or axes)[0]
