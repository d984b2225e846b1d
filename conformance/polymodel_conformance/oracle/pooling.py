"""Pooling."""

from __future__ import annotations

import numpy as np

from polymodel.plan import Node
from polymodel_conformance.oracle import primitives as p
from polymodel_conformance.oracle.convolution import Window, patches, window
from polymodel_conformance.oracle.reduction import absolute
from polymodel_conformance.oracle.table import ORACLE
from polymodel_conformance.oracle.tape import Array, Value


def _flat(x: Value, w: Window, fill: float) -> Value:
    """(N, C, positions in the kernel, *sizes)."""
    return p.reshape(patches(x, w, fill), (*x.shape[:2], int(np.prod(w.kernel)), *w.sizes))


@ORACLE.rule("MaxPool", since=1)
def _max_pool(node: Node, x: Value) -> tuple[Value, Value] | Value:
    w = window(node, x.shape[2:], node.attr("kernel_shape"), ceil=bool(node.attributes.get("ceil_mode")))
    if not x.is_float:
        wide = _max_pool_of(x.tape.value(x.array.astype(np.float64)), w)[0]
        return x.tape.value(wide.array.astype(x.array.dtype))
    y, first = _max_pool_of(x, w)
    if not node.has_output(1):
        return y
    return y, x.tape.value(_positions(x, w, first, node.attr("storage_order")))


def _max_pool_of(x: Value, w: Window) -> tuple[Value, Array]:
    return p.largest(_flat(x, w, -np.inf), 2)


def _positions(x: Value, w: Window, first: Array, column_major: int) -> Array:
    spatial = x.shape[2:]
    offsets = np.array(list(np.ndindex(*w.kernel))).reshape(-1, len(spatial))
    index = np.zeros(first.shape, np.int64)
    order = range(len(spatial)) if not column_major else reversed(range(len(spatial)))
    for axis in order:
        start = np.arange(w.sizes[axis]) * w.strides[axis] - w.before[axis]
        start = start.reshape([-1 if i == axis else 1 for i in range(len(spatial))])
        index = index * spatial[axis] + start + offsets[first, axis] * w.dilations[axis]
    planes = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *(1,) * len(spatial))
    return index + planes * int(np.prod(spatial))


@ORACLE.rule("AveragePool", since=1)
def _average_pool(node: Node, x: Value) -> Value:
    w = window(node, x.shape[2:], node.attr("kernel_shape"), ceil=bool(node.attributes.get("ceil_mode")))
    total = p.total(_flat(x, w, 0.0), (2,))
    inside = x.tape.value(np.ones((1, 1, *x.shape[2:])))
    if node.attr("count_include_pad"):
        pads = node.attr("pads") or (0,) * (2 * len(w.kernel))
        given = w.after if node.attr("auto_pad") not in ("NOTSET", None) else pads[len(w.kernel) :]
        inside = p.pad(inside, [(0, 0), (0, 0), *zip(w.before, given, strict=True)], 1.0)
        rest = tuple(a - b for a, b in zip(w.after, given, strict=True))
        w = Window(w.kernel, w.strides, w.dilations, (0,) * len(w.kernel), rest, w.sizes)
    count = _flat(inside, w, 0.0).array.sum(2)
    return p.div(total, count)


@ORACLE.rule("LpPool", since=1)
def _lp_pool(node: Node, x: Value) -> Value:
    w = window(node, x.shape[2:], node.attr("kernel_shape"), ceil=bool(node.attributes.get("ceil_mode")))
    order = float(node.attr("p"))
    powers = p.power(_flat(absolute(x), w, 0.0), order)
    return p.power(p.total(powers, (2,)), 1.0 / order)


@ORACLE.rule("GlobalLpPool", since=1)
def _global_lp(node: Node, x: Value) -> Value:
    order = float(node.attr("p"))
    return p.power(p.total(p.power(absolute(x), order), tuple(range(2, x.ndim)), True), 1.0 / order)


@ORACLE.rule("GlobalAveragePool", since=1)
def _global_average(node: Node, x: Value) -> Value:
    return p.mean(x, tuple(range(2, x.ndim)), True)


@ORACLE.rule("GlobalMaxPool", since=1)
def _global_max(node: Node, x: Value) -> Value:
    flat = p.reshape(x, (*x.shape[:2], int(np.prod(x.shape[2:]))))
    return p.reshape(p.largest(flat, -1)[0], (*x.shape[:2], *(1,) * (x.ndim - 2)))
