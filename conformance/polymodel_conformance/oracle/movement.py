"""Operators that move elements: each is a map from output positions to input positions.

The map is found by running the ONNX reference implementation on the positions themselves, so the oracle has no second
opinion about slices, pads or gathers; it only knows how a cotangent flows back along a map.
"""

from __future__ import annotations

import numpy as np

from polymodel.plan import Node
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


@ORACLE.rule(*["Slice", "Tile", "DepthToSpace", "SpaceToDepth", "Trilu", "Gather", "GatherElements", "GatherND"], since=1)
def _move(node: Node, x: Value, *rest: Value | None) -> Value:
    return _moved(node, x, *rest)[0]


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


@ORACLE.rule("ScatterElements", "ScatterND", since=11)
def _scatter(node: Node, x: Value, index: Value, updates: Value) -> Value:
    if not x.is_float or node.attributes.get("reduction", "none") not in ("none", "add", None):
        if x.is_float and x.tape.record:
            raise NotImplementedError(f"the oracle does not differentiate {node}")
        return x.tape.value(evaluate(node, [x.array, index.array, updates.array])[0])
    plain = _without_reduction(node)
    marks = np.arange(1, updates.array.size + 1, dtype=np.int64).reshape(updates.shape)
    where = evaluate(plain, [np.zeros(x.shape, np.int64), index.array, marks])[0] - 1
    if node.attributes.get("reduction") == "add":
        target = np.full(updates.array.size, -1, np.int64)
        places = np.arange(x.array.size, dtype=np.int64).reshape(x.shape)
        reader = _reader(node, places, index.array, updates.shape)
        target = reader.reshape(-1)
        return _added(x, updates, target)
    return p.where(where >= 0, p.take(updates, where), x)


def _reader(node: Node, places: Array, index: Array, shape: tuple[int, ...]) -> Array:
    """Where each update lands in the flattened data."""
    if node.op_type == "ScatterND":
        wrapped = np.where(index < 0, index + np.array(places.shape[: index.shape[-1]]), index)
        return np.asarray(places[tuple(np.moveaxis(wrapped, -1, 0))].reshape(shape))
    axis = node.axis()
    grid = list(np.indices(index.shape))
    grid[axis] = np.where(index < 0, index + places.shape[axis], index)
    return np.asarray(places[tuple(grid)])


def _added(x: Value, updates: Value, target: Array) -> Value:
    y = x.array.reshape(-1).copy()
    np.add.at(y, target, updates.array.reshape(-1))
    t = x.tape
    return t.push(
        t.rounded(y.reshape(x.shape)), (x, updates), lambda g: [g, g.reshape(-1)[target].reshape(updates.shape)]
    )


def _without_reduction(node: Node) -> Node:
    from dataclasses import replace

    return replace(node, attributes={**node.attributes, "reduction": "none"})


@ORACLE.rule("OneHot", since=9)
def _one_hot(node: Node, index: Value, depth: Value, values: Value) -> Value:
    hot = evaluate(node, [index.array, depth.array, np.array([0, 1], np.int64)])[0]
    if values.is_float:
        return p.take(values, hot.astype(np.int64))
    return values.tape.value(values.array[hot.astype(np.int64)])
