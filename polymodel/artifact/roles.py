"""Which stored tensors of an imported graph are trained: parameters, buffers or constants.

1. The mean and variance of a BatchNormalization are buffers.
2. A tensor is a candidate when it is floating-point and reaches a weight-like input, straight or through operators
   that only move or cast elements: an input of WEIGHTS; either side of MatMul or of a bias-like Add or Mul when it has
   an axis and more than one element; the table of a Gather.
3. A candidate is a parameter when a floating-point output of the graph depends on that use through differentiable
   inputs only (the standard tags those that are not; Cast to an integer ends the path as well).
4. A floating-point tensor with an axis and more than one element that an operator of a registered custom domain reads
   is a parameter, as that operator passes derivatives to all its inputs.
5. What is left is a constant.

The user may say otherwise: "all" (every floating-point tensor but the buffers), "none", or names with wildcards.
Every stored tensor gets a reason in words for what it became.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
_STANDARD = frozenset({"ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training"})
_FLOATS = frozenset(
    {ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.UNDEFINED}
)


@final
@dataclass(frozen=True)
class Roles:
    """Names of trained tensors, of buffers, and of trained tensors that are frozen; and why, for every stored tensor."""

    parameters: tuple[str, ...]
    buffers: tuple[str, ...]
    frozen: frozenset[str] = frozenset()
    reasons: Mapping[str, str] = field(default_factory=dict)


def find_roles(graph: ir.Graph, arrays: Mapping[str, np.ndarray], trainable: str | Sequence[str]) -> Roles:
    """Sort stored tensors into roles.

    Args:
        graph: whose inputs and initializers the names mean.
        arrays: value of every stored tensor, in the order of the file.
        trainable: "auto", "all", "none", or names with the wildcards of fnmatch.

    Raises:
        ArtifactError: a wildcard matches no floating-point tensor.
    """
    floats = [n for n, a in arrays.items() if is_float_array(a)]
    statistics = _statistics(graph)
    buffers = tuple(n for n in floats if n in statistics)
    rest = [n for n in floats if n not in statistics]
    why = {n: f"{a.dtype} elements have no derivative" for n, a in arrays.items() if not is_float_array(a)}
    why |= {n: f"{statistics[n]}: a training step updates it" for n in buffers}
    if trainable == "auto":
        found = _weights(graph, {n: arrays[n] for n in rest})
        return Roles(tuple(n for n in rest if found[n][0]), buffers, reasons=why | {n: found[n][1] for n in rest})
    if trainable in ("none", "all"):
        why |= dict.fromkeys(rest, f'trainable="{trainable}"')
        return Roles(tuple(rest) if trainable == "all" else (), buffers, reasons=why)
    patterns = [trainable] if isinstance(trainable, str) else list(trainable)
    for pattern in patterns:
        if not any(fnmatchcase(n, pattern) for n in rest):
            raise ArtifactError(
                f"trainable={pattern!r} matches no floating-point tensor of the file; there are {', '.join(rest[:12])}"
            )
    matched = {n: p for p in reversed(patterns) for n in rest if fnmatchcase(n, p)}
    why |= {n: f"matches {matched[n]!r}" if n in matched else "matches no pattern of trainable=" for n in rest}
    return Roles(tuple(n for n in rest if n in matched), buffers, reasons=why)


def is_float_array(array: np.ndarray) -> bool:
    """Whether the elements of a stored tensor are floating-point numbers that can be trained."""
    return bool(array.dtype.kind == "f" or array.dtype.name == "bfloat16")


def _statistics(graph: ir.Graph) -> dict[str, str]:
    """Running statistics by name, with words that say of what."""
    found = {}
    for node in _all(graph):
        if node.op_type == "BatchNormalization" and node.domain == "" and len(node.inputs) == 5:
            for word, value in zip(("mean", "variance"), node.inputs[3:5], strict=True):
                found[str(value.name) if value is not None else ""] = f"running {word} of BatchNormalization {_of(node)}"
    return found


def _all(graph: ir.Graph) -> list[ir.Node]:
    """Nodes in their order; those in the bodies of control flow come before the call."""
    return [n for node in graph for n in (*(inner for body in _bodies(node) for inner in _all(body)), node)]


def _bodies(node: ir.Node) -> Iterator[ir.Graph]:
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()


def _of(node: ir.Node) -> str:
    return repr(node.name or str(node.outputs[0].name))


def _weights(graph: ir.Graph, arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[bool, str]]:
    """Whether each candidate is on a differentiable path, and why: one pass forwards, one backwards."""
    opset = int(graph.opset_imports[""])
    dynamic = _dynamic(graph, arrays)
    live = _live(graph, opset)
    scalars_too: dict[str, str] = {}  # values that reach a weight-like input, and which
    vectors: dict[str, str] = {}  # values that reach a side of MatMul, Add or Mul
    other: dict[str, str] = {}  # values that only reach something else
    for node in reversed(_all(graph)):
        outs = {str(v.name) for v in node.outputs if v.name}
        names = ["" if v is None else str(v.name) for v in node.inputs]
        if not live & outs:
            other |= dict.fromkeys(names, f"no floating-point output depends on {node.op_type} {_of(node)} differentiably")
            continue
        moved = frozenset() if node.domain else _MOVES.get(node.op_type, frozenset())
        for i, name in enumerate(names):
            what = f"input {_word(node, i, opset)} of {node.op_type} {_of(node)}"
            if moved is None or i in moved:
                for known in (scalars_too, vectors, other):
                    for out in outs & known.keys():
                        known[name] = f"{known[out]}, through {node.op_type}"
            elif node.domain in _STANDARD:
                other[name] = f"{what}, which is not weight-like"
            elif node.domain:
                vectors[name] = f"{what} of domain {node.domain}"
            elif not _differentiable(node.op_type, opset, i):
                other[name] = f"{what} has no derivative"
            elif i in WEIGHTS.get(node.op_type, frozenset()):
                scalars_too[name] = what
            elif node.op_type in _SIDES and len(names) == 2 and names[1 - i] in dynamic:
                vectors[name] = what
            else:
                other[name] = f"{what}, which is not weight-like"
    return {n: _judged(n, a, scalars_too, vectors, other) for n, a in arrays.items()}


def _judged(
    name: str, array: np.ndarray, weights: Mapping[str, str], sides: Mapping[str, str], other: Mapping[str, str]
) -> tuple[bool, str]:
    if name in weights:
        return True, weights[name]
    if name in sides:
        one = array.ndim == 0 or array.size <= 1
        return not one, f"{sides[name]}" + (": a single number, taken for a setting" if one else "")
    return False, other.get(name, "nothing reads it")


def _word(node: ir.Node, i: int, opset: int) -> str:
    """The standard's word for an input, "W" of Conv."""
    try:
        formals = [] if node.domain else onnx.defs.get_schema(node.op_type, opset).inputs
    except onnx.defs.SchemaError:
        formals = []
    return str(formals[min(i, len(formals) - 1)].name) if formals else str(i)


def _dynamic(graph: ir.Graph, arrays: Mapping[str, np.ndarray]) -> set[str]:
    """Values that depend on what a user feeds."""
    dynamic = {str(v.name) for v in graph.inputs} - set(arrays)
    dynamic.update(str(v.name) for node in _all(graph) for body in _bodies(node) for v in body.inputs)
    for node in _all(graph):
        if any(v is not None and v.name in dynamic for v in node.inputs):
            dynamic.update(str(v.name) for v in node.outputs if v.name)
    return dynamic


def _live(graph: ir.Graph, opset: int) -> set[str]:
    """Values that a floating-point output depends on through differentiable inputs."""
    live = {str(v.name) for v in graph.outputs if (v.dtype or ir.DataType.UNDEFINED) in _FLOATS}
    for node in reversed(_all(graph)):
        outs = {str(v.name) for v in node.outputs if v.name}
        if live & outs:
            live.update(str(v.name) for body in _bodies(node) for v in body.outputs)
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
