"""Inputs to try a graph with: fixed numbers that its operators can take.

Floating-point inputs are standard normal. Integer inputs that index a table stay inside it; others are 0 or 1. Unknown
sizes get the number asked for; those along which a convolution or pooling window moves get more, so that windows fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from polymodel import random
from polymodel.artifact.tensors import element_count
from polymodel.errors import ArtifactError
from polymodel.graph import Graph
from polymodel.spec import numpy_dtype

_PASSES_ON = frozenset(
    {"Identity", "Cast", "Reshape", "Unsqueeze", "Squeeze", "Flatten", "Transpose", "Slice", "Expand"}
)
_WINDOWS = frozenset({"Conv", "MaxPool", "AveragePool", "LpPool", "ConvInteger", "QLinearConv", "DeformConv"})
_IN_PLACE = frozenset(
    {"Identity", "Cast", "Add", "Sub", "Mul", "Div", "Pad", "Resize", "BatchNormalization", "QuantizeLinear",
     "DequantizeLinear", "Clip", "Relu"}
)  # fmt: skip
WINDOWS = 32
_MAX = 1 << 28  # elements of one input


def try_inputs(graph: Graph, size: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    """One array for each input.

    Args:
        graph: whose inputs they are.
        size: number for every unknown size; WINDOWS times that where windows move.
        seed: of the numbers.

    Raises:
        ArtifactError: an input is too large to be made, or of a type that has no numbers.
    """
    feeds: dict[str, np.ndarray] = {}
    moving = _moving(graph)
    for name in graph.inputs:
        spec = graph.specs[name]
        larger = [size * WINDOWS if (name, a) in moving or d in moving else size for a, d in enumerate(spec.shape)]
        shape = tuple(d if isinstance(d, int) else s for d, s in zip(spec.shape, larger, strict=True))
        if element_count(shape, f"input {name!r}") > _MAX:
            raise ArtifactError(f"input {name!r} {spec} is too large to try: give inputs of your own")
        dtype = numpy_dtype(spec.dtype)
        generator = random.generator(seed, "verify", name)
        if dtype.kind == "b":
            feeds[name] = generator.random(shape) < 0.5
        elif dtype.kind in "iu":
            feeds[name] = generator.integers(0, _bound(graph, name), shape).astype(dtype)
        elif dtype.kind in "fcV" and spec.dtype != "string":
            feeds[name] = np.asarray(generator.standard_normal(shape)).astype(dtype)
        else:
            raise ArtifactError(f"input {name!r} is {spec.dtype}: give inputs of your own")
    return feeds


def _moving(graph: Graph) -> set[Any]:
    """Unknown sizes along which windows move: names of sizes, and (input, axis) of those without a name."""
    found: set[Any] = set()
    for value in graph.model.graph.inputs:
        name = str(value.name)
        if name not in graph.inputs or name not in graph.specs or not _meets(value):
            continue
        for axis, dim in enumerate(graph.specs[name].shape):
            if axis >= 2 and not isinstance(dim, int):
                found.add((name, axis) if dim is None else dim)
    return found


def _meets(value: ir.Value) -> bool:
    """Whether a value reaches a window straight or through operators that leave its axes in their places."""
    queue, seen = [value], set[int]()
    while queue:
        current = queue.pop()
        for node, i in current.uses():
            if node.op_type in _WINDOWS and i == 0:
                return True
            if node.op_type in _IN_PLACE and id(node) not in seen:
                seen.add(id(node))
                queue.extend(node.outputs)
    return False


def _bound(graph: Graph, name: str) -> int:
    """One more than the largest index that an integer input may hold."""
    values: Mapping[str, ir.Value] = {str(v.name): v for v in graph.model.graph.inputs}
    queue, seen, found = [values[name]], set[int](), []
    while queue:
        value = queue.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        for node, i in value.uses():
            bound = _limit(node, i)
            if bound is not None:
                found.append(bound)
            elif node.op_type in _PASSES_ON and i == 0:
                queue.extend(node.outputs)
    return min(found, default=2)


def _limit(node: ir.Node, i: int) -> int | None:
    if node.op_type in ("Gather", "GatherElements") and i == 1:
        axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
        return _size(node.inputs[0], axis)
    if node.op_type in ("SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss") and i == 1:
        return _size(node.inputs[0], 1)
    if node.op_type == "OneHot" and i == 0:
        depth = node.inputs[1]
        known = depth.const_value.numpy() if depth is not None and depth.const_value is not None else None
        return None if known is None else max(int(known.ravel()[0]), 1)
    return None


def _size(value: ir.Value | None, axis: int) -> int | None:
    if value is None or value.shape is None or not -len(value.shape) <= axis < len(value.shape):
        return None
    dim = value.shape[axis]
    return max(dim, 1) if isinstance(dim, int) else None
