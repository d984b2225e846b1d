"""What exporters write out becomes the operator of the standard again, for which every backend has a fast kernel.

Exporters that write for an older opset, or decompose, spell operators of opset 17 to 23 with products and reductions:

1. Gelu: x * 0.5 * (1 + erf(x / sqrt(2))), the factors in any order.
2. LayerNormalization: (x - mean) / sqrt(mean((x - mean)^2) + eps) * scale + bias, over the last axis.
3. Transpose: a Transpose of the last two axes between two Reshapes that only merge and split the axes in front of them.
4. Attention: softmax(q k^T * scale) v of four axes without a mask, the scale before or behind the product.

Only in float32 and float64, where the kernel's own order of roundings is as good as the written one; constants must be
what the formula says, to the type's rounding. Inner values that something else reads stay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from polymodel.passes.pattern import WIDE, Context, Pattern, other_and_scalar, scalar, standard, transposition
from polymodel.plan import Node
from polymodel.spec import Dim, TensorSpec


def _gelu(node: Node, context: Context) -> Sequence[Node] | None:
    if not _is(node, "Mul") or node.dtype() not in WIDE:
        return None
    factors = _factors(node, context)
    halves = [scalar(*f) for f in factors]
    sums = [_one_plus_erf(*f, context) for f in factors]
    for i, x in enumerate(factors):
        rest = [k for k in range(len(factors)) if k != i]
        name = x[0].input_names[x[1]]
        if len(rest) == 2 and any(halves[a] == 0.5 and (inner := sums[b]) is not None and inner == name for a, b in (rest, rest[::-1])):
            return [standard("Gelu", node, [x], approximate="none")]
    return None


def _factors(node: Node, context: Context, depth: int = 2) -> list[tuple[Node, int]]:
    """The inputs of a product of products."""
    found: list[tuple[Node, int]] = []
    for i in (0, 1):
        inner = context.only(node, i, "Mul") if depth else None
        found += [(node, i)] if inner is None else _factors(inner, context, depth - 1)
    return found


def _one_plus_erf(node: Node, i: int, context: Context) -> str | None:
    """The name of x where an input is 1 + erf(x / sqrt(2))."""
    total = context.only(node, i, "Add")
    if total is None or (found := other_and_scalar(total)) is None or found[1] != 1.0:
        return None
    erf = context.only(total, found[0], "Erf")
    inner = context.only(erf, 0, "Div", "Mul") if erf is not None else None
    if inner is None:
        return None
    number = scalar(inner, 1)
    place = 0
    if number is None and inner.op_type == "Mul":
        number, place = scalar(inner, 0), 1
    wanted = math.sqrt(2) if inner.op_type == "Div" else math.sqrt(0.5)
    return inner.input_names[place] if number is not None and _close(number, wanted, inner.dtype(place)) else None


def _layer_normalization(node: Node, context: Context) -> Sequence[Node] | None:
    if not _is(node, "Add") or node.dtype() not in WIDE:
        return None
    for b in (0, 1):
        scaled = context.only(node, 1 - b, "Mul")
        for s in (0, 1):
            quotient = context.only(scaled, 1 - s, "Div") if scaled is not None else None
            found = _normalized(quotient, context) if quotient is not None else None
            if scaled is None or found is None:
                continue
            first, epsilon = found
            size = first.spec(0).shape[-1:]
            if isinstance(size[0], int) and node.spec(b).shape == size and scaled.spec(s).shape == size:
                inputs = [(first, 0), (scaled, s), (node, b)]
                return [standard("LayerNormalization", node, inputs, axis=-1, epsilon=epsilon, stash_type=1)]
    return None


def _normalized(quotient: Node, context: Context) -> tuple[Node, float] | None:
    """Of (x - mean) / sqrt(mean((x - mean)^2) + eps): the call x - mean, and eps."""
    centred, root = context.producer(quotient, 0), context.only(quotient, 1, "Sqrt")
    total = context.only(root, 0, "Add") if root is not None else None
    if centred is None or not _is(centred, "Sub") or total is None or (eps := other_and_scalar(total)) is None:
        return None
    mean, variance = context.only(centred, 1, "ReduceMean"), context.only(total, eps[0], "ReduceMean")
    if mean is None or variance is None or not (_over_last(mean) and _over_last(variance)):
        return None
    square = context.only(variance, 0, "Pow", "Mul")
    if square is None or mean.input_names[0] != centred.input_names[0]:
        return None
    name = centred.output_names[0]
    squared = scalar(square, 1) == 2.0 if square.op_type == "Pow" else square.input_names[1] == name
    return (centred, eps[1]) if squared and square.input_names[0] == name and eps[1] >= 0 else None


def _over_last(node: Node) -> bool:
    axes = node.constants.get(1)
    return axes is not None and bool(node.attr("keepdims")) and axes.tolist() in ([-1], [node.rank() - 1])


def _transpose(node: Node, context: Context) -> Sequence[Node] | None:
    if not _is(node, "Reshape") or node.outputs[0].rank < 3:
        return None
    turned = context.producer(node, 0)
    merged = context.producer(turned, 0) if turned is not None and _is(turned, "Transpose") else None
    if turned is None or merged is None or not _is(merged, "Reshape") or turned.attr("perm") != (0, 2, 1):
        return None
    x, y, inner = merged.spec(0), node.outputs[0], merged.outputs[0]
    rank = x.rank
    if rank < 3 or inner.rank != 3 or y.rank != rank:
        return None
    fits = _same(x.shape[:-2], y.shape[:-2]) and _same(x.shape[-2:], inner.shape[1:]) and _same(x.shape[-2:], (y.shape[-1], y.shape[-2]))
    perm = (*range(rank - 2), rank - 1, rank - 2)
    return [standard("Transpose", node, [(merged, 0)], perm=perm)] if fits else None


def _attention(node: Node, context: Context) -> Sequence[Node] | None:
    if not _is(node, "MatMul") or node.dtype() not in WIDE or (node.rank(0), node.rank(1)) != (4, 4):
        return None
    weights = context.only(node, 0, "Softmax")
    if weights is None or weights.axis() != 3:
        return None
    scores, i, scale = _scaled(weights, 0, context)
    product = context.only(scores, i, "MatMul")
    if product is None or (product.rank(0), product.rank(1)) != (4, 4):
        return None
    q, q_i, q_scale = _scaled(product, 0, context)
    outer, outer_i, k_scale = _scaled(product, 1, context)
    turned = context.producer(outer, outer_i)
    if turned is None or not _is(turned, "Transpose") or turned.rank() != 4:
        return None
    k, k_i, inner_scale = _scaled(turned, 0, context) if turned.attr("perm") == (0, 1, 3, 2) else (turned, 0, 1.0)
    total = scale * q_scale * k_scale * inner_scale
    made: list[Node] = []
    if turned.attr("perm") == (0, 2, 3, 1):  # of keys that no call has in the order of queries
        shape = turned.spec(0).shape
        spec = TensorSpec((shape[0], shape[2], shape[1], shape[3]), turned.dtype())
        made.append(transposition(turned, 0, (0, 2, 1, 3), f"{turned.output_names[0]}:keys", spec))
        k, k_i = _reader(made[0], spec), 0
    elif turned.attr("perm") != (0, 1, 3, 2):
        return None
    if not (0 < total < math.inf) or not _stack(q.spec(q_i), k.spec(k_i), node.spec(1)):
        return None
    return [*made, standard("Attention", node, [(q, q_i), (k, k_i), (node, 1)], scale=total)]


def _stack(q: TensorSpec, k: TensorSpec, v: TensorSpec) -> bool:
    """Whether batches, heads and sizes are the same without broadcasting."""
    return (
        _same(q.shape[:2], k.shape[:2])
        and _same(k.shape[:3], v.shape[:3])
        and _same(q.shape[3:], k.shape[3:])
        and isinstance(q.shape[3], int)
        and q.shape[3] > 0
    )


def _reader(made: Node, spec: TensorSpec) -> Node:
    """A call whose input 0 is what another call makes."""
    return Node("Identity", "", 1, made.name, {}, made.output_names, ("",), (spec,), (spec,), {})


def _scaled(node: Node, i: int, context: Context) -> tuple[Node, int, float]:
    """The unscaled value behind an input: who reads it, as which input, and the factor."""
    factor = 1.0
    while (inner := context.only(node, i, "Mul", "Div")) is not None:
        number = scalar(inner, 1)
        place = 0
        if number is None and inner.op_type == "Mul":
            number, place = scalar(inner, 0), 1
        if number is None or number == 0:
            break
        factor *= 1 / number if inner.op_type == "Div" else number
        node, i = inner, place
    return node, i, factor


def _same(a: Sequence[Dim], b: Sequence[Dim]) -> bool:
    return len(a) == len(b) and all(x is not None and x == y for x, y in zip(a, b, strict=True))


def _is(node: Node, op_type: str) -> bool:
    return node.op_type == op_type and not node.domain


def _close(number: float, wanted: float, dtype: str) -> bool:
    return abs(number / wanted - 1) <= 2 * float(np.finfo(dtype).eps)


WRITTEN_OUT: tuple[tuple[str, Pattern], ...] = (
    ("Gelu", _gelu),
    ("LayerNormalization", _layer_normalization),
    ("Transpose", _transpose),
    ("Attention", _attention),
)
"""Operators of the standard, in the order in which they are looked for."""
