"""Operators that select elements, as many as the data decides: NonZero, Unique, NonMaxSuppression.

Nothing of what they return has a derivative in the standard, the values of Unique included.
"""

from __future__ import annotations

from typing import Any

from polymodel.plan import Node
from polymodel_tensorflow.compat import tf
from polymodel_tensorflow.rules.table import TABLE, product, sizes


@TABLE.rule("NonZero", since=9)
def non_zero(node: Node, x: Any) -> Any:
    if node.rank() == 0:  # one element, found without an axis
        return tf.zeros([0, tf.cast(tf.cast(x, tf.bool), tf.int32)], tf.int64)
    return tf.transpose(tf.where(tf.not_equal(x, tf.zeros((), x.dtype)) if x.dtype != tf.bool else x))


@TABLE.rule("Unique", since=11)
def unique(node: Node, x: Any) -> tuple[Any, ...]:
    """Values or slices, the place where each occurs first, which of them each element is, and how often each occurs."""
    x = tf.stop_gradient(x)
    axis = 0 if node.attr("axis") is None else node.axis()
    x = tf.reshape(x, [-1]) if node.attr("axis") is None else x
    dims = sizes(x)
    others = [a for a in range(len(dims)) if a != axis]
    keys = tf.transpose(_comparable(x), [axis, *others])
    keys = tf.reshape(keys, [dims[axis], product([dims[a] for a in others])])
    kept, inverse, counts = tf.raw_ops.UniqueWithCountsV2(x=keys, axis=[0], out_idx=tf.int64)
    count = tf.shape(counts)[0]
    number = tf.range(tf.cast(dims[axis], tf.int64))
    first = tf.math.unsorted_segment_min(number, inverse, count)
    if node.attr("sorted"):
        order = _sorted_rows(kept, count)
        inverse = tf.gather(tf.math.invert_permutation(order), inverse)
        first, counts = tf.gather(first, order), tf.gather(counts, order)
    return tf.gather(x, first, axis=axis), first, tf.cast(inverse, tf.int64), counts


def _comparable(x: Any) -> Any:
    """The same order in a type for which TensorFlow sorts."""
    if x.dtype.is_floating:
        return x if x.dtype == tf.float64 else tf.cast(x, tf.float32)
    return tf.bitcast(x, tf.int64) ^ tf.int64.min if x.dtype == tf.uint64 else tf.cast(x, tf.int64)


def _sorted_rows(rows: Any, count: Any) -> Any:
    """The order of rows by their first element, equal ones by the second, and so on: sorted by the last one first."""

    def by(column: Any, order: Any) -> tuple[Any, Any]:
        values = tf.gather(rows[:, column], order)
        return column - 1, tf.gather(order, tf.argsort(values, stable=True))

    start = (tf.shape(rows)[1] - 1, tf.range(count))
    shapes = (tf.TensorShape([]), tf.TensorShape([None]))
    return tf.while_loop(lambda column, order: column >= 0, by, start, shapes)[1]


@TABLE.rule("NonMaxSuppression", since=10)
def non_max_suppression(
    node: Node, boxes: Any, scores: Any, limit: Any = None, overlap: Any = None, threshold: Any = None
) -> Any:
    """(selected, 3) batch, class and box, each class in falling order of scores: one of every class in each round."""
    boxes, scores = tf.stop_gradient(boxes), tf.stop_gradient(scores)
    most = tf.zeros((), tf.int64) if limit is None else tf.reshape(limit, [])
    overlap = tf.zeros((), boxes.dtype) if overlap is None else tf.reshape(overlap, [])
    dims = tf.shape(scores)
    order = tf.argsort(scores, axis=-1, direction="DESCENDING", stable=True)
    ranked = tf.gather(scores, order, batch_dims=2)
    edges = [
        tf.gather(tf.broadcast_to(e[:, None, :], dims), order, batch_dims=2)
        for e in _edges(boxes, bool(node.attr("center_point_box")))
    ]
    alive = tf.ones(dims, tf.bool) if threshold is None else ranked > tf.reshape(threshold, [])

    def going(round_: Any, alive: Any, kept: Any) -> Any:
        return (round_ < most) & tf.reduce_any(alive)

    def pick(round_: Any, alive: Any, kept: Any) -> tuple[Any, Any, Any]:
        best = tf.argmax(tf.cast(alive, tf.int32), -1, output_type=tf.int32)[..., None]
        chosen = tf.equal(tf.range(dims[2]), best) & alive
        hidden = _overlapping(edges, [tf.gather(e, best, batch_dims=2) for e in edges], overlap)
        return round_ + 1, alive & ~chosen & ~hidden, kept | chosen

    none = tf.zeros(dims, tf.bool)
    shape = tf.TensorShape([None, None, None])
    start = (tf.zeros((), tf.int64), alive, none)
    kept = tf.while_loop(going, pick, start, (tf.TensorShape([]), shape, shape))[2]
    found = tf.where(kept)
    return tf.concat([found[:, :2], tf.cast(tf.gather_nd(order, found), tf.int64)[:, None]], 1)


def _edges(boxes: Any, centered: bool) -> list[Any]:
    """Lower and upper edges along two axes, each (batch, boxes)."""
    a, b, c, d = tf.unstack(boxes, 4, axis=-1)
    if centered:
        return [b - d / 2, a - c / 2, b + d / 2, a + c / 2]
    return [tf.minimum(a, c), tf.minimum(b, d), tf.maximum(a, c), tf.maximum(b, d)]


def _overlapping(p: list[Any], q: list[Any], limit: Any) -> Any:
    """Whether intersection over union is above the limit; a box without area overlaps nothing."""
    high = tf.minimum(p[2], q[2]) - tf.maximum(p[0], q[0])
    wide = tf.minimum(p[3], q[3]) - tf.maximum(p[1], q[1])
    shared = high * wide
    areas = [(e[2] - e[0]) * (e[3] - e[1]) for e in (p, q)]
    union = areas[0] + areas[1] - shared
    real = (high > 0) & (wide > 0) & (shared > 0) & (areas[0] > 0) & (areas[1] > 0) & (union > 0)
    return real & (shared / union > limit)
