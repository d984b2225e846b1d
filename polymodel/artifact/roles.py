"""Which stored tensors of an imported graph are trained: parameters, buffers or constants.

1. The mean and variance of a BatchNormalization are buffers.
2. A tensor is a candidate when it is floating-point and reaches a weight-like input, straight or through operators
   that only move or cast elements: an input of WEIGHTS; either side of MatMul or of a bias-like Add or Mul when it has
   an axis and more than one element; the table of a Gather.
3. A candidate is a parameter when a floating-point output of the graph depends on that use through differentiable
   inputs only (the standard tags those that are not; Cast to an integer ends the path as well).
4. What is left is a constant.

The user may say otherwise: "all" (every floating-point tensor but the buffers), "none", or names with wildcards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import final

import numpy as np
import onnx
import onnx_ir as ir

from polymodel.errors import ArtifactError

WEIGHTS: Mapping[str, frozenset[int]] = {
    "Conv": frozenset({1, 2}),
    "ConvTranspose": frozenset({1, 2}),
    "DeformConv": frozenset({1, 3}),
    "Gemm": frozenset({0, 1, 2}),
    "BatchNormalization": frozenset({1, 2}),
    "InstanceNormalization": frozenset({1, 2}),
    "LayerNormalization": frozenset({1, 2}),
    "GroupNormalization": frozenset({1, 2}),
    "RMSNormalization": frozenset({1}),
    "LSTM": frozenset({1, 2, 3, 7}),
    "GRU": frozenset({1, 2, 3}),
    "RNN": frozenset({1, 2, 3}),
    "PRelu": frozenset({1}),
    "Gather": frozenset({0}),
    "Einsum": frozenset(range(8)),
}
_SIDES = frozenset({"MatMul", "Add", "Mul"})
_MOVES: Mapping[str, frozenset[int] | None] = {
    "Transpose": frozenset({0}),
    "Reshape": frozenset({0}),
    "Squeeze": frozenset({0}),
    "Unsqueeze": frozenset({0}),
    "Flatten": frozenset({0}),
    "Identity": frozenset({0}),
    "Cast": frozenset({0}),
    "Split": frozenset({0}),
    "Slice": frozenset({0}),
    "Expand": frozenset({0}),
    "Concat": None,
}
_FLOATS = frozenset(
    {ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.UNDEFINED}
)


@final
@dataclass(frozen=True)
class Roles:
    """Names of trained tensors, of buffers, and of trained tensors that are frozen."""

    parameters: tuple[str, ...]
    buffers: tuple[str, ...]
    frozen: frozenset[str] = frozenset()


def find_roles(graph: ir.Graph, arrays: Mapping[str, np.ndarray], trainable: str | Sequence[str]) -> Roles:
    """Sort stored tensors into roles.

    Args:
        graph: whose inputs and initializers the names mean.
        arrays: value of every stored tensor, in the order of the file.
        trainable: "auto", "all", "none", or names with the wildcards of fnmatch.

    Raises:
        ArtifactError: a wildcard matches no floating-point tensor.
    """
    floats = [n for n, a in arrays.items() if _is_float(a)]
    statistics = set(_statistics(graph))
    buffers = tuple(n for n in floats if n in statistics)
    rest = [n for n in floats if n not in statistics]
    if trainable == "none":
        return Roles((), buffers)
    if trainable == "all":
        return Roles(tuple(rest), buffers)
    if trainable == "auto":
        weights = _weights(graph, {n: arrays[n] for n in rest})
        return Roles(tuple(n for n in rest if n in weights), buffers)
    patterns = [trainable] if isinstance(trainable, str) else list(trainable)
    for pattern in patterns:
        if not any(fnmatchcase(n, pattern) for n in rest):
            raise ArtifactError(
                f"trainable={pattern!r} matches no floating-point tensor of the file; there are {', '.join(rest[:12])}"
            )
    return Roles(tuple(n for n in rest if any(fnmatchcase(n, p) for p in patterns)), buffers)


def _is_float(array: np.ndarray) -> bool:
    return bool(array.dtype.kind == "f" or array.dtype.name == "bfloat16")


def _statistics(graph: ir.Graph) -> Iterable[str]:
    for node in graph:
        if node.op_type == "BatchNormalization" and node.domain == "" and len(node.inputs) == 5:
            yield from (str(v.name) for v in node.inputs[3:5] if v is not None)


def _weights(graph: ir.Graph, arrays: Mapping[str, np.ndarray]) -> set[str]:
    """Names of candidates on a differentiable path: one pass forwards, one backwards."""
    opset = int(graph.opset_imports[""])
    dynamic = _dynamic(graph, arrays)
    live = _live(graph, opset)
    scalars_too: set[str] = set()  # values that reach a weight-like input
    vectors: set[str] = set()  # values that reach a side of MatMul, Add or Mul
    for node in reversed(list(graph)):
        outs = {str(v.name) for v in node.outputs if v.name}
        if node.domain or not live & outs:
            continue
        names = ["" if v is None else str(v.name) for v in node.inputs]
        moved = _MOVES.get(node.op_type, frozenset())
        for i, name in enumerate(names):
            if moved is None or i in moved:
                scalars_too |= {name} if outs & scalars_too else set()
                vectors |= {name} if outs & vectors else set()
            elif not _differentiable(node.op_type, opset, i):
                continue
            elif i in WEIGHTS.get(node.op_type, frozenset()):
                scalars_too.add(name)
            elif node.op_type in _SIDES and len(names) == 2 and names[1 - i] in dynamic:
                vectors.add(name)
    return {n for n, a in arrays.items() if n in scalars_too or (n in vectors and a.ndim >= 1 and a.size > 1)}


def _dynamic(graph: ir.Graph, arrays: Mapping[str, np.ndarray]) -> set[str]:
    """Values that depend on what a user feeds."""
    dynamic = {str(v.name) for v in graph.inputs} - set(arrays)
    for node in graph:
        if any(v is not None and v.name in dynamic for v in node.inputs):
            dynamic.update(str(v.name) for v in node.outputs if v.name)
    return dynamic


def _live(graph: ir.Graph, opset: int) -> set[str]:
    """Values that a floating-point output depends on through differentiable inputs."""
    live = {str(v.name) for v in graph.outputs if (v.dtype or ir.DataType.UNDEFINED) in _FLOATS}
    for node in reversed(list(graph)):
        outs = {str(v.name) for v in node.outputs if v.name}
        if not live & outs or (node.op_type == "Cast" and not _casts_to_float(node)):
            continue
        for i, value in enumerate(node.inputs):
            if value is not None and (node.domain or _differentiable(node.op_type, opset, i)):
                live.add(str(value.name))
    return live


def _casts_to_float(node: ir.Node) -> bool:
    return "to" in node.attributes and ir.DataType(node.attributes["to"].as_int()) in _FLOATS


@lru_cache(maxsize=4096)
def _differentiable(op_type: str, opset: int, i: int) -> bool:
    """Whether the standard does not say that an input has no derivative."""
    try:
        schema = onnx.defs.get_schema(op_type, opset)
    except onnx.defs.SchemaError:
        return False
    if not schema.inputs:
        return True
    formal = schema.inputs[min(i, len(schema.inputs) - 1)]
    return bool(formal.differentiation_category != onnx.defs.OpSchema.DifferentiationCategory.NonDifferentiable)
