"""Operators that take elements by index. Negative indices count from the end, as the standard says."""

from __future__ import annotations

from typing import Any

import numpy as np

from polymodel.errors import Unsupported
from polymodel.plan import Node
from polymodel_tensorflow.compat import tf
from polymodel_tensorflow.rules.table import TABLE, product, sizes


def _from_front(node: Node, i: int, indices: Any, size: Any) -> Any:
    """Indices counted from the front; nothing to do where they are known to be so."""
    if node.is_const(i) and not (node.const(i) < 0).any():
        return indices
    return tf.where(indices < 0, indices + tf.cast(size, indices.dtype), indices)


@TABLE.rule("Gather", since=1)
def gather(node: Node, x: Any, indices: Any) -> Any:
    axis = node.axis()
    return tf.gather(x, _from_front(node, 1, indices, sizes(x)[axis]), axis=axis)


def _grid(node: Node, x: Any, indices: Any, axis: int) -> Any:
    """Full coordinates (..., rank) of the elements that GatherElements and ScatterElements name."""
    indices = tf.cast(_from_front(node, 1, indices, sizes(x)[axis]), tf.int64)
    dims = sizes(indices)
    rank = len(dims)
    coordinates = []
    for a in range(rank):
        if a == axis:
            coordinates.append(indices)
        else:
            along = tf.reshape(tf.range(tf.cast(dims[a], tf.int64)), [-1 if b == a else 1 for b in range(rank)])
            coordinates.append(tf.broadcast_to(along, tf.shape(indices)))
    return tf.stack(coordinates, -1)


@TABLE.rule("GatherElements", since=11)
def gather_elements(node: Node, x: Any, indices: Any) -> Any:
    return tf.gather_nd(x, _grid(node, x, indices, node.axis()))


def _nd(node: Node, x: Any, indices: Any, batch: int) -> Any:
    dims = tf.shape(x, out_type=tf.int64)
    depth = node.dim(1, -1)
    return _from_front(node, 1, indices, dims[batch : batch + depth])


@TABLE.rule("GatherND", since=11)
def gather_nd(node: Node, x: Any, indices: Any) -> Any:
    batch = int(node.attr("batch_dims") or 0)
    return tf.gather_nd(x, _nd(node, x, indices, batch), batch_dims=batch)


@TABLE.rule("ScatterElements", since=11)
def scatter_elements(node: Node, x: Any, indices: Any, updates: Any) -> Any:
    where = _grid(node, x, indices, node.axis())
    rank = node.rank()
    return _scatter(node, x, tf.reshape(where, [-1, rank]), tf.reshape(updates, [-1]))


@TABLE.rule("ScatterND", since=11)
def scatter_nd(node: Node, x: Any, indices: Any, updates: Any) -> Any:
    depth = node.dim(1, -1)
    where = tf.reshape(_nd(node, x, indices, 0), [-1, depth])
    rest = sizes(x)[depth:]
    return _scatter(node, x, where, tf.reshape(updates, [tf.shape(where)[0], *rest]))


def _scatter(node: Node, x: Any, where: Any, updates: Any) -> Any:
    """where (n, depth), updates (n, rest of x)."""
    reduction = node.attr("reduction") or "none"
    if reduction in ("none", "add"):
        function = tf.tensor_scatter_nd_update if reduction == "none" else tf.tensor_scatter_nd_add
        return function(x, where, updates)
    if reduction in ("max", "min"):
        function = tf.tensor_scatter_nd_max if reduction == "max" else tf.tensor_scatter_nd_min
        return function(x, where, updates)
    if reduction != "mul":
        raise Unsupported(f"{node}: reduction {reduction!r}; the standard has none, add, mul, max and min")
    depth = where.shape[-1]
    dims = sizes(x)
    count, rest = product(dims[:depth]), dims[depth:]
    strides = [product(dims[i + 1 : depth]) for i in range(depth)]
    flat = tf.reduce_sum(where * tf.cast(tf.stack(strides), where.dtype), -1)
    factors = tf.math.unsorted_segment_prod(updates, flat, count)
    return x * tf.reshape(factors, [*dims[:depth], *rest])


@TABLE.rule("OneHot", since=9)
def one_hot(node: Node, indices: Any, depth: Any, values: Any) -> Any:
    """Indices outside [-depth, depth) give a row of off values."""
    count = int(np.asarray(node.const(1)).reshape(())) if node.is_const(1) else tf.cast(tf.reshape(depth, []), tf.int32)
    whole = tf.cast(indices, tf.int64)
    whole = tf.where(whole < 0, whole + tf.cast(count, tf.int64), whole)
    axis = int(node.attr("axis"))
    axis = axis + node.rank() + 1 if axis < 0 else axis
    hot = tf.one_hot(whole, count, axis=axis, on_value=True, off_value=False, dtype=tf.bool)
    return tf.where(hot, values[1], values[0])
