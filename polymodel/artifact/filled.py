"""Weights that a file writes as one number and a shape: ConstantOfShape of stored sizes.

They are stored tensors to those who look for what is trained (the classic networks inside the onnx package have no
others). Those that get a role take the node's place; the rest stay as they were.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx_ir as ir

_MOST = 1 << 29  # elements in all; a file of a few bytes may ask for any number


def filled_tensors(graph: ir.Graph, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Floating-point results of ConstantOfShape by name, as views that take no memory."""
    found: dict[str, np.ndarray] = {}
    left = _MOST
    for node in graph:
        if node.op_type != "ConstantOfShape" or node.domain or node.inputs[0] is None:
            continue
        sizes, value = arrays.get(str(node.inputs[0].name)), _number(node)
        if sizes is None or value.dtype.kind != "f" or sizes.ndim != 1 or (sizes < 0).any():
            continue
        count = int(np.prod(sizes.astype(object)))
        if 0 < count <= left:
            left -= count
            found[str(node.outputs[0].name)] = np.broadcast_to(value, tuple(int(d) for d in sizes))
    return found


def store(graph: ir.Graph, names: Collection[str]) -> None:
    """Take the nodes that make some values out; the values remain as inputs of the graph."""
    for node in list(graph):
        name = str(node.outputs[0].name)
        if name in names:
            old = node.outputs[0]
            value = ir.Value(name=name, shape=old.shape, type=old.type)
            ir.convenience.replace_all_uses_with(old, value)
            graph.remove(node, safe=True)
            graph.inputs.append(value)
    unread = [n for n, v in graph.initializers.items() if not v.uses() and v not in graph.outputs]
    for name in unread:
        graph.initializers.pop(name)


def _number(node: ir.Node) -> np.ndarray:
    given = node.attributes.get("value")
    value = np.zeros(1, np.float32) if given is None else given.as_tensor().numpy()
    return value.reshape(())
