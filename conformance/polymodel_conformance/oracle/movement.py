"""Operators that move elements: each is a map from output positions to input positions.

The map is found by running the ONNX reference implementation on the positions themselves, so the oracle has no second
opinion about slices, pads or gathers; it only knows how a cotangent flows back along a map.
"""

from __future__ import annotations

import numpy as np

from polymodel.plan import Node
from polymodel.spec import numpy_dtype
from polymodel_conformance.oracle import primitives as p
from polymodel_conformance.oracle.reference import evaluate
from polymodel_conformance.oracle.table import ORACLE
from polymodel_conformance.oracle.tape import Array, Value


def _moved(node: Node, x: Value, *rest: Value | None) -> tuple[Value, ...]:
    """Move the first input as the reference implementation moves its positions (1, 2, ...; 0 where nothing came)."""
    positions = np.arange(1, x.array.size + 1, dtype=np.int64).reshape(x.shape)
    maps = evaluate(node, [positions, *(None if r is None else r.array for r in rest)])
    if x.is_float:
        return tuple(p.take(x, m.astype(np.int64) - 1) for m in maps)
    return tuple(x.tape.value(_at(x.array, m.astype(np.int64) - 1)) for m in maps)


def _at(array: Array, index: Array) -> Array:
    if array.size == 0:
        return np.zeros(index.shape, array.dtype)
    return np.where(index >= 0, array.reshape(-1)[np.maximum(index, 0)], array.dtype.type(0))


@ORACLE.rule("Reshape", "Flatten", "Squeeze", "Unsqueeze", since=1)
def _reshape(node: Node, x: Value, *_: Value | None) -> Value:
    shape = node.out_shape()
    return p.reshape(x, shape) if x.is_float else x.tape.value(x.array.reshape(shape))


@ORACLE.rule("Transpose", since=1)
def _transpose(node: Node, x: Value) -> Value:
    axes = node.attr("perm") or tuple(reversed(range(x.ndim)))
    return p.transpose(x, axes) if x.is_float else x.tape.value(x.array.transpose(axes))


@ORACLE.rule("Concat", since=1)
def _concat(node: Node, *xs: Value) -> Value:
    axis = node.axis()
    if xs[0].is_float:
        return p.concat(xs, axis)
    return xs[0].tape.value(np.concatenate([x.array for x in xs], axis))


@ORACLE.rule("Expand", since=1)
def _expand(node: Node, x: Value, shape: Value) -> Value:
    if x.is_float:
        return p.broadcast(x, [int(s) for s in shape.array])
    return x.tape.value(x.array * np.ones([int(s) for s in shape.array], x.array.dtype)) if x.array.dtype != bool \
        else x.tape.value(x.array & np.ones([int(s) for s in shape.array], bool))


@ORACLE.rule("ReverseSequence", "Compress", since=9)
@ORACLE.rule(*["Slice", "Tile", "DepthToSpace", "SpaceToDepth", "Trilu", "Gather", "GatherND"], since=1)
def _move(node: Node, x: Value, *rest: Value | None) -> Value:
    return _moved(node, x, *rest)[0]


@ORACLE.rule("GatherElements", since=11)
def _gather_elements(node: Node, x: Value, index: Value) -> Value:
    axis, places = node.axis(), np.arange(x.array.size).reshape(x.shape)
    grid = list(np.indices(index.shape))
    grid[axis] = np.where(index.array < 0, index.array + x.shape[axis], index.array)
    flat = places[tuple(grid)]
    return p.take(x, flat) if x.is_float else x.tape.value(_at(x.array, flat))


@ORACLE.rule("Split", since=1)
def _split(node: Node, x: Value, sizes: Value | None = None) -> tuple[Value, ...]:
    return _moved(node, x, sizes) if sizes is not None else _moved(node, x)


@ORACLE.rule("Pad", since=1)
def _pad(
    node: Node, x: Value, pads: Value, fill: Value | None = None, axes: Value | None = None
) -> Value:
    x, pads = _cropped(x, pads, axes)
    y = _moved(node, x, pads, None, axes)[0]
    if node.attr("mode") != "constant" or fill is None:
        return y
    blank = evaluate(node, [np.ones(x.shape, np.int64), pads.array, None, None if axes is None else axes.array])[0] == 0
    if x.is_float:
        return p.where(blank, p.reshape(fill, ()), y)
    return x.tape.value(np.where(blank, fill.array.reshape(()), y.array))


def _cropped(x: Value, pads: Value, axes: Value | None) -> tuple[Value, Value]:
    """Negative pads cut off first, which the reference implementation cannot do."""
    widths = pads.array
    if not (widths < 0).any():
        return x, pads
    over = [int(a) % x.ndim for a in axes.array] if axes is not None else list(range(x.ndim))
    key = [slice(None)] * x.ndim
    for i, axis in enumerate(over):
        low, high = min(0, int(widths[i])), min(0, int(widths[i + len(over)]))
        key[axis] = slice(-low, x.shape[axis] + high)
    cut = p.pick(x, tuple(key)) if x.is_float else x.tape.value(x.array[tuple(key)])
    return cut, pads.tape.value(np.maximum(widths, 0))


@ORACLE.rule("CenterCropPad", since=18)
def _center_crop_pad(node: Node, x: Value, shape: Value) -> Value:
    axes = [a % x.ndim for a in (node.attr("axes") or range(x.ndim))]
    key = [slice(None)] * x.ndim
    widths = [(0, 0)] * x.ndim
    for axis, size in zip(axes, (int(s) for s in shape.array), strict=True):
        have = x.shape[axis]
        if have > size:
            start = (have - size) // 2
            key[axis] = slice(start, start + size)
        else:
            widths[axis] = ((size - have) // 2, size - have - (size - have) // 2)
    if not x.is_float:
        return x.tape.value(np.pad(x.array[tuple(key)], widths))
    return p.pad(p.pick(x, tuple(key)), widths)


@ORACLE.rule("BitCast", since=26)
def _bit_cast(node: Node, x: Value) -> Value:
    held = x.array.astype(numpy_dtype(node.dtype(0)))
    return x.tape.value(held.view(numpy_dtype(node.outputs[0].dtype)))


@ORACLE.rule("OneHot", since=9)
def _one_hot(node: Node, index: Value, depth: Value, values: Value) -> Value:
    hot = evaluate(node, [index.array, depth.array, np.array([0, 1], np.int64)])[0]
    if values.is_float:
        return p.take(values, hot.astype(np.int64))
    return values.tape.value(values.array[hot.astype(np.int64)])
