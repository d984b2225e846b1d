"""Operators that move elements: reshape, transpose, join, cut, repeat, pad."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polymodel.plan import Node
from polymodel.spec import numpy_dtype
from polymodel_mxnet.rules.table import TABLE
from polymodel_mxnet.symbols import Symbol, broadcast, cast, concat, constant, current_trace, cut, op, reshape, transpose

_DENSE = {"Gemm", "Linear", "MatMul"}


@TABLE.rule("Reshape", since=5)
@TABLE.rule("Squeeze", since=13)
@TABLE.rule("Unsqueeze", since=13)
@TABLE.rule("Flatten", since=1)
def reshape_rule(node: Node, x: Symbol, *others: Symbol) -> Symbol:
    """`_np_reshape` takes an array in oneDNN's blocked layout for one in the usual order of elements.

    Dense layers do not mind, and for them it saves a copy; a sum, a recurrence or another reshape behind it fails. The
    older `Reshape` reorders such an array, but fails on what oneDNN has transposed.
    """
    shape, trace = node.out_shape(), current_trace()
    dense = trace.readers.get(node.output_names[0], set()) <= _DENSE
    if shape and all(shape) and node.input_names[0] in trace.blocked and not dense:
        if len(shape) <= 6:
            return op("Reshape", x, shape=shape)
        x = op("Reshape", x, shape=(shape[0], -1, 1))  # oneDNN has 6 axes at most
    return reshape(x, shape)


@TABLE.rule("Transpose", since=1)
def transpose_rule(node: Node, x: Symbol) -> Symbol:
    perm = node.attr("perm") or tuple(range(node.rank()))[::-1]
    if node.dtype() == "bool":  # which MXNet's kernel refuses
        return transpose(cast(x, "uint8"), perm) != 0
    return transpose(x, perm)


@TABLE.rule("Concat", since=4)
def concat_rule(node: Node, *inputs: Symbol) -> Symbol:
    axis = node.axis()
    return concat([x for i, x in enumerate(inputs) if node.dim(i, axis) > 0], axis)


@TABLE.rule("Split", since=13)
def split(node: Node, x: Symbol, sizes: Symbol = None) -> tuple[Symbol, ...]:
    if node.dtype() == "bool":  # MXNet slices no bool
        return tuple(cast(y, "bool") for y in _parts(node, cast(x, "uint8")))
    return _parts(node, x)


def _parts(node: Node, x: Symbol) -> tuple[Symbol, ...]:
    axis, place, parts = node.axis(), 0, []
    for i in range(len(node.outputs)):
        shape = node.out_shape(i) if node.has_output(i) else None
        size = shape[axis] if shape is not None else _missing_size(node, i)
        parts.append(cut(x, axis, place, place + size) if size else constant(np.empty(node.out_shape(i), node.dtype())))
        place += size
    return tuple(parts)


def _missing_size(node: Node, i: int) -> int:
    if node.has_input(1):
        return int(node.const(1)[i])
    count = int(node.attr("num_outputs") or len(node.output_names))
    whole = -(-node.dim(0, node.axis()) // count)
    return min(whole, node.dim(0, node.axis()) - i * whole)


@TABLE.rule("Slice", since=10)
def slice_(node: Node, x: Symbol, *others: Symbol) -> Symbol:
    if node.dtype() == "bool":  # MXNet slices no bool
        return cast(_sliced(node, cast(x, "uint8")), "bool")
    return _sliced(node, x)


def _sliced(node: Node, x: Symbol) -> Symbol:
    starts, ends = node.const(1).tolist(), node.const(2).tolist()
    axes = node.const(3).tolist() if node.has_input(3) else list(range(len(starts)))
    steps = node.const(4).tolist() if node.has_input(4) else [1] * len(starts)
    begin, step = [0] * node.rank(), [1] * node.rank()
    end: list[int | None] = list(node.shape())
    for axis, start, stop, stride in zip(axes, starts, ends, steps, strict=True):
        begin[axis], stop, step[axis] = slice(start, stop, stride).indices(node.dim(0, axis))
        end[axis] = stop if stop >= 0 else None
    if all(s == 1 for s in step):
        for axis in range(node.rank()):
            stop = end[axis]
            assert stop is not None
            if (begin[axis], stop) != (0, node.dim(0, axis)):
                x = cut(x, axis, begin[axis], stop)
        return x
    return op("slice", x, begin=tuple(begin), end=tuple(end), step=tuple(step))


@TABLE.rule("Expand", since=8)
def expand(node: Node, x: Symbol, shape: Symbol) -> Symbol:
    return broadcast(x, node.out_shape())


@TABLE.rule("Tile", since=6)
def tile(node: Node, x: Symbol, repeats: Symbol) -> Symbol:
    for axis, count in enumerate(node.const(1).tolist()):
        x = concat([x] * count, axis)
    return x


@TABLE.rule("Pad", since=11)
def pad(node: Node, x: Symbol, pads: Symbol, value: Symbol = None, axes: Symbol = None) -> Symbol:
    rank = node.rank()
    chosen = [int(a) % rank for a in node.const(3).tolist()] if node.has_input(3) else list(range(rank))
    amounts = node.const(1).tolist()
    width = [(0, 0)] * rank
    for i, axis in enumerate(chosen):
        width[axis] = (int(amounts[i]), int(amounts[i + len(chosen)]))
    if node.attr("mode") == "constant":
        return _pad_constant(node, x, width, value)
    for axis, (before, after) in enumerate(width):
        if (before, after) != (0, 0):
            x = op("_npi_take", x, _border(node, axis, before, after), axis=axis, mode="clip")
    return x


def _pad_constant(node: Node, x: Symbol, width: list[tuple[int, int]], value: Symbol | None) -> Symbol:
    shape = list(node.shape())
    for axis, (before, after) in enumerate(width):
        if before < 0 or after < 0:
            x = cut(x, axis, max(-before, 0), shape[axis] - max(-after, 0))
            shape[axis] -= max(-before, 0) + max(-after, 0)
    if 0 in shape:
        return broadcast(_fill(node, value), node.out_shape())
    for axis, (before, after) in enumerate(width):
        parts, border = [x], list(shape)
        for size, place in ((before, 0), (after, len(parts))):
            if size > 0:
                border[axis] = size
                parts.insert(place if place == 0 else len(parts), broadcast(_fill(node, value), border))
        x = concat(parts, axis)
        shape[axis] += max(before, 0) + max(after, 0)
    return x


def _fill(node: Node, value: Symbol | None) -> Symbol:
    return constant(np.zeros((), numpy_dtype(node.dtype()))) if value is None else reshape(value, ())


def _border(node: Node, axis: int, before: int, after: int) -> Symbol:
    size = node.dim(0, axis)
    inside = np.arange(max(-before, 0), size - max(-after, 0))
    mode = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}[str(node.attr("mode"))]
    index = np.pad(inside, (max(before, 0), max(after, 0)), mode=mode)  # type: ignore[call-overload]
    return constant(index.astype(np.int64))


def pad_zero(x: Symbol, shape: Sequence[int], width: Sequence[tuple[int, int]], value: float, dtype: str) -> Symbol:
    """Pad a floating-point tensor by a number on every axis where the width is not (0, 0)."""
    sizes = list(shape)
    for axis, (before, after) in enumerate(width):
        parts = [x]
        for size, front in ((before, True), (after, False)):
            if size:
                border = [*sizes[:axis], size, *sizes[axis + 1 :]]
                part = constant(np.full(border, value, dtype))
                parts = [part, *parts] if front else [*parts, part]
        x = concat(parts, axis)
        sizes[axis] += before + after
    return x


@TABLE.rule("DepthToSpace", since=11)
def depth_to_space(node: Node, x: Symbol) -> Symbol:
    n, c, h, w = node.shape()
    b = int(node.attr("blocksize"))
    depth = c // (b * b)
    if node.attr("mode") == "DCR":
        y = transpose(reshape(x, (n, b, b, depth, h, w)), (0, 3, 4, 1, 5, 2))
    else:
        y = transpose(reshape(x, (n, depth, b, b, h, w)), (0, 1, 4, 2, 5, 3))
    return reshape(y, node.out_shape())


@TABLE.rule("SpaceToDepth", since=1)
def space_to_depth(node: Node, x: Symbol) -> Symbol:
    n, c, h, w = node.shape()
    b = int(node.attr("blocksize"))
    order = (0, 1, 3, 5, 2, 4) if node.attr("mode") == "CRD" else (0, 3, 5, 1, 2, 4)
    y = transpose(reshape(x, (n, c, h // b, b, w // b, b)), order)
    return reshape(y, node.out_shape())


@TABLE.rule("Trilu", since=14)
def trilu(node: Node, x: Symbol, k: Symbol = None) -> Symbol:
    offset = int(node.const(1).reshape(())) if node.has_input(1) else 0
    rows, columns = node.shape()[-2:]
    keep = np.tri(rows, columns, offset, dtype=bool) if not node.attr("upper") else ~np.tri(rows, columns, offset - 1, dtype=bool)
    return op("_npi_where", constant(keep), x, constant(np.zeros((), numpy_dtype(node.dtype()))))


@TABLE.rule("Range", since=11)
def range_(node: Node, start: Symbol, limit: Symbol, delta: Symbol) -> Symbol:
    values = np.arange(*(node.const(i).item() for i in range(3)), dtype=numpy_dtype(node.dtype()))
    return constant(values)


@TABLE.rule("ConstantOfShape", since=9)
def constant_of_shape(node: Node, shape: Symbol) -> Symbol:
    value = node.attr("value")
    fill = np.zeros(1, np.float32) if value is None else np.asarray(value)
    return constant(np.full(tuple(node.const(0).tolist()), fill.reshape(())))


@TABLE.rule("Constant", since=1)
def constant_rule(node: Node) -> Symbol:
    given = {n: v for n, v in node.attributes.items() if v is not None}
    name, value = next(iter(given.items()))
    kind = {"value_int": "int64", "value_ints": "int64", "value_float": "float32", "value_floats": "float32"}.get(name)
    return constant(np.asarray(value, kind))


@TABLE.rule("Shape", since=1)
@TABLE.rule("Size", since=1)
def shape(node: Node, x: Symbol) -> Symbol:
    sizes = node.shape()
    if node.op_type == "Size":
        return constant(np.array(np.prod(sizes, dtype=np.int64)))
    end = node.attr("end")
    return constant(np.array(sizes[slice(int(node.attr("start") or 0), None if end is None else int(end))], np.int64))


@TABLE.rule("EyeLike", since=9)
def eye_like(node: Node, x: Symbol) -> Symbol:
    kind = numpy_dtype(node.outputs[0].dtype)
    rows, columns = node.shape()
    return constant(np.eye(rows, columns, int(node.attr("k"))).astype(kind))


__all__ = ["pad_zero"]
