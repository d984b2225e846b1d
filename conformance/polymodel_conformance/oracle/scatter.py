"""Writing into tensors: ScatterElements, ScatterND, Scatter, TensorScatter, MaxUnpool, Col2Im.

Updates that go to one place are applied one after another, in the order in which the updates tensor has them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from polymodel.plan import Node
from polymodel_conformance.oracle import primitives as p
from polymodel_conformance.oracle.convolution import Window
from polymodel_conformance.oracle.table import ORACLE
from polymodel_conformance.oracle.tape import Array, Value


@ORACLE.rule("ScatterElements", since=11)
@ORACLE.rule("Scatter", since=9)
def _scatter_elements(node: Node, x: Value, index: Value, updates: Value) -> Value:
    axis, places = node.axis(), np.arange(x.array.size).reshape(x.shape)
    grid = list(np.indices(index.shape))
    grid[axis] = np.where(index.array < 0, index.array + x.shape[axis], index.array)
    return _scattered(node.attributes.get("reduction"), x, places[tuple(grid)], updates)


@ORACLE.rule("ScatterND", since=11)
def _scatter_nd(node: Node, x: Value, index: Value, updates: Value) -> Value:
    places = np.arange(x.array.size).reshape(x.shape)
    wrapped = np.where(index.array < 0, index.array + np.array(x.shape[: index.shape[-1]]), index.array)
    target = places[tuple(np.moveaxis(wrapped, -1, 0))].reshape(updates.shape)
    return _scattered(node.attributes.get("reduction"), x, target, updates)


def _scattered(reduction: str | None, x: Value, target: Array, updates: Value) -> Value:
    """Updates put to, or joined with, the flat positions `target` of x."""
    flat = p.reshape(x, (-1,)) if x.is_float else x.tape.value(x.array.reshape(-1))
    order = target.reshape(-1)
    if reduction in (None, "none"):
        last = np.full(flat.array.size, -1, np.int64)
        last[order] = np.arange(order.size)
        return _shaped(_put(flat, last, updates), x.shape)
    for which in _rounds(order):
        here = np.full(flat.array.size, -1, np.int64)
        here[order[which]] = which
        flat = _joined(reduction, flat, here, updates)
    return _shaped(flat, x.shape)


def _shaped(flat: Value, shape: tuple[int, ...]) -> Value:
    return p.reshape(flat, shape) if flat.is_float else flat.tape.value(flat.array.reshape(shape))


def _rounds(order: Array) -> list[Array]:
    """Positions in `order`, grouped so that no target comes twice in a group."""
    ranks = np.zeros(order.size, np.int64)
    by_target = np.argsort(order, kind="stable")
    ordered = order[by_target]
    new = np.concatenate([[True], ordered[1:] != ordered[:-1]]) if order.size else np.zeros(0, bool)
    starts = np.maximum.accumulate(np.where(new, np.arange(order.size), 0)) if order.size else ranks
    ranks[by_target] = np.arange(order.size) - starts
    return [np.flatnonzero(ranks == r) for r in range(int(ranks.max()) + 1)] if order.size else []


def _read(updates: Value, here: Array) -> Value:
    if updates.is_float:
        return p.take(updates, here)
    return updates.tape.value(updates.array.reshape(-1)[np.maximum(here, 0)])


def _put(flat: Value, here: Array, updates: Value) -> Value:
    """Updates where `here` names one."""
    if not updates.array.size:
        return flat
    given = _read(updates, here)
    if flat.is_float:
        return p.where(here >= 0, given, flat)
    return flat.tape.value(np.where(here >= 0, given.array, flat.array))


_INTEGERS: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum
}


def _joined(reduction: str, flat: Value, here: Array, updates: Value) -> Value:
    given, live = _read(updates, here), here >= 0
    if not flat.is_float:
        return flat.tape.value(np.where(live, _INTEGERS[reduction](flat.array, given.array), flat.array))
    if reduction == "add":
        return p.where(live, p.add(flat, given), flat)
    if reduction == "mul":
        return p.where(live, p.mul(flat, given), flat)
    gap = given.array - flat.array if reduction == "max" else flat.array - given.array
    wins = (gap > 0) ^ flat.tape.kinks.decide(np.where(live, np.abs(gap), np.inf), gap > 0)
    return p.where(live & wins, given, flat)


@ORACLE.rule("TensorScatter", since=24)
def _tensor_scatter(node: Node, cache: Value, update: Value, start: Value | None = None) -> Value:
    axis, size = node.axis(), cache.shape[node.axis()]
    grid = list(np.indices(update.shape))
    first = np.zeros(cache.shape[0], np.int64) if start is None else start.array
    at = first[grid[0]] + grid[axis]
    grid[axis] = at % size if node.attr("mode") == "circular" else at
    places = np.arange(cache.array.size).reshape(cache.shape)
    return _scattered(None, cache, places[tuple(grid)], update)


@ORACLE.rule("MaxUnpool", since=9)
def _max_unpool(node: Node, x: Value, index: Value, shape: Value | None = None) -> Value:
    kernel = node.attr("kernel_shape")
    n = len(kernel)
    strides, pads = node.attr("strides") or (1,) * n, node.attr("pads") or (0,) * (2 * n)
    spatial = [(s - 1) * t - pads[i] - pads[i + n] + k for i, (s, t, k) in enumerate(zip(x.shape[2:], strides, kernel, strict=True))]
    size = (*x.shape[:2], *spatial)
    blank = x.tape.value(np.zeros(size, x.array.dtype))
    y = _scattered(None, blank, index.array, x)
    if shape is None:
        return y
    return p.pad(y, [(0, int(w) - s) for w, s in zip(shape.array, size, strict=True)])


@ORACLE.rule("Col2Im", since=18)
def _col2im(node: Node, x: Value, image: Value, block: Value) -> Value:
    kernel, sizes = tuple(int(k) for k in block.array), tuple(int(s) for s in image.array)
    n = len(kernel)
    strides, dilations = node.attr("strides") or (1,) * n, node.attr("dilations") or (1,) * n
    pads = node.attr("pads") or (0,) * (2 * n)
    wide = [s + pads[i] + pads[i + n] for i, s in enumerate(sizes)]
    spots = [(s - (k - 1) * d - 1) // t + 1 for s, k, d, t in zip(wide, kernel, dilations, strides, strict=True)]
    w = Window(kernel, tuple(strides), tuple(dilations), (0,) * n, (0,) * n, tuple(spots))
    batch, channels = x.shape[0], x.shape[1] // int(np.prod(kernel))
    columns = p.reshape(x, (batch, channels, *kernel, *spots))
    planes = np.arange(batch * channels * int(np.prod(wide))).reshape(batch, channels, *wide)
    target = np.empty(columns.shape, np.int64)
    for offset in np.ndindex(*kernel):
        target[(slice(None), slice(None), *offset)] = planes[(slice(None), slice(None), *w.slices(offset))]
    y = p.reshape(p.gathered_sum(columns, target, planes.size), planes.shape)
    inner = (slice(None), slice(None), *(slice(pads[i], pads[i] + s) for i, s in enumerate(sizes)))
    return p.pick(y, inner)
