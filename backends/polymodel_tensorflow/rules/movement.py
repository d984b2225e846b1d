"""Operators that move elements and compute nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from polymodel.errors import Unsupported
from polymodel.plan import Node
from polymodel_tensorflow.compat import tf
from polymodel_tensorflow.dtypes import dtype_of_onnx, native_dtype
from polymodel_tensorflow.rules.table import TABLE, product, sizes


@TABLE.rule("Reshape", since=5)
def reshape(node: Node, x: Any, shape: Any) -> Any:
    if not node.is_const(1):
        if node.attr("allowzero"):
            return tf.reshape(x, shape)
        rank = node.spec(1).shape[0]
        shown = tf.shape(x, out_type=tf.int64)[: rank if isinstance(rank, int) else None]
        missing = tf.maximum(tf.shape(shape)[0] - tf.shape(shown)[0], 0)
        shown = tf.pad(shown, [[0, missing]])[: tf.shape(shape)[0]]
        return tf.reshape(x, tf.where(tf.equal(shape, 0), shown, shape))
    wanted = [int(d) for d in node.const(1)]
    if not node.attr("allowzero"):
        known = sizes(x)
        wanted = [known[i] if d == 0 else d for i, d in enumerate(wanted)]
    static = [d if isinstance(d, int) else None for d in node.outputs[0].shape]
    if static.count(None) == 0:
        return tf.reshape(x, static)
    return tf.ensure_shape(tf.reshape(x, tf.stack(wanted) if wanted else []), static)


@TABLE.rule("Transpose", since=1)
def transpose(node: Node, x: Any) -> Any:
    perm = node.attr("perm") or tuple(reversed(range(node.rank())))
    return tf.transpose(x, perm)


@TABLE.rule("Flatten", since=1)
def flatten(node: Node, x: Any) -> Any:
    axis = int(node.attr("axis"))
    axis = axis + node.rank() if axis < 0 else axis
    dims = sizes(x)
    head, tail = product(dims[:axis]), product(dims[axis:])
    if isinstance(tail, int) and tail > 0:
        return tf.reshape(x, [-1, tail])
    return tf.reshape(x, [head, tail])


@TABLE.rule("Squeeze", since=1)
def squeeze(node: Node, x: Any, axes: Any = None) -> Any:
    given = tuple(int(a) for a in node.const(1).reshape(-1)) if node.has_input(1) else node.attr("axes")
    return tf.squeeze(x, [a % node.rank() for a in given] if given else None)


@TABLE.rule("Unsqueeze", since=1)
def unsqueeze(node: Node, x: Any, axes: Any = None) -> Any:
    given = tuple(int(a) for a in node.const(1).reshape(-1)) if node.has_input(1) else node.attr("axes")
    rank = node.rank() + len(given)
    for axis in sorted(a % rank for a in given):
        x = tf.expand_dims(x, axis)
    return x


@TABLE.rule("Concat", since=4)
def concat(node: Node, *xs: Any) -> Any:
    return tf.concat(xs, node.axis())


@TABLE.rule("Split", since=2)
def split(node: Node, x: Any, split_input: Any = None) -> tuple[Any, ...]:
    """By sizes (input or, before opset 13, attribute), or into num_outputs parts, the last of which may be smaller."""
    axis = node.axis()
    if node.has_input(1):
        parts = [int(s) for s in node.const(1)]
    elif node.attr("split"):
        parts = [int(s) for s in node.attr("split")]
    else:
        count = int(node.attr("num_outputs") or len(node.output_names))
        total = node.dim(0, axis)
        chunk = -(-total // count)
        parts = [chunk] * (count - 1) + [total - chunk * (count - 1)]
    return tuple(tf.split(x, parts, axis))


@TABLE.rule("Slice", since=10)
def slice_(node: Node, x: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
    where = [int(a) % node.rank() for a in node.const(3)] if node.has_input(3) else None
    if not all(node.is_const(i) for i in (1, 2, 4) if node.has_input(i)):
        return _slice_unknown(node, x, starts, ends, where, steps)
    first, last = (node.const(i).tolist() for i in (1, 2))
    step = node.const(4).tolist() if node.has_input(4) else [1] * len(first)
    index: list[Any] = [slice(None)] * node.rank()
    for axis, a, b, s in zip(where or range(len(first)), first, last, step, strict=True):
        index[axis] = _python_slice(a, b, s)
    return x[tuple(index)]


def _python_slice(start: int, stop: int, step: int) -> slice:
    """The standard's bounds as Python's: beyond either end means that end.

    Going backwards, an end before the first element has no Python number: it is None.
    """
    big = 2**31 - 1
    if start >= big or (step < 0 and start >= big):
        begin = big if step > 0 else None
    else:
        begin = max(start, -big)
    if step > 0:
        return slice(begin, None if stop >= big else max(stop, -big), step)
    return slice(begin, None if stop <= -big else min(stop, big), step)


def _slice_unknown(node: Node, x: Any, starts: Any, ends: Any, where: list[int] | None, steps: Any) -> Any:
    """Bounds that are computed: clamp them as the standard says and take the elements of each axis by index."""
    count = node.spec(1).shape[0]
    axes = where or list(range(int(count) if isinstance(count, int) else 0))
    size = tf.shape(x, out_type=tf.int64)
    starts, ends = tf.cast(starts, tf.int64), tf.cast(ends, tf.int64)
    for i, axis in enumerate(axes):
        n = size[axis]
        step = tf.cast(steps[i], tf.int64) if steps is not None else tf.constant(1, tf.int64)
        a = tf.where(starts[i] < 0, starts[i] + n, starts[i])
        b = tf.where(ends[i] < 0, ends[i] + n, ends[i])
        a = tf.where(step > 0, tf.clip_by_value(a, 0, n), tf.clip_by_value(a, 0, n - 1))
        b = tf.where(step > 0, tf.clip_by_value(b, 0, n), tf.clip_by_value(b, -1, n - 1))
        x = tf.gather(x, tf.range(a, b, step), axis=axis)
    return x


@TABLE.rule("Expand", since=8)
def expand(node: Node, x: Any, shape: Any) -> Any:
    static = node.outputs[0].shape
    if all(isinstance(d, int) for d in static):
        return tf.broadcast_to(x, static)
    return tf.broadcast_to(x, tf.broadcast_dynamic_shape(tf.shape(x, out_type=tf.int64), shape))


@TABLE.rule("Tile", since=6)
def tile(node: Node, x: Any, repeats: Any) -> Any:
    return tf.tile(x, repeats)


@TABLE.rule("Pad", since=11)
def pad(node: Node, x: Any, pads: Any, value: Any = None, axes: Any = None) -> Any:
    """Negative pads cut. Modes other than constant take elements by index, axis by axis."""
    rank, mode = node.rank(), node.attr("mode")
    given = [int(p) for p in node.const(1)]
    where = [int(a) % rank for a in node.const(3)] if node.has_input(3) else list(range(rank))
    before, after = [0] * rank, [0] * rank
    for i, axis in enumerate(where):
        before[axis], after[axis] = given[i], given[i + len(where)]
    if mode != "constant":
        for axis in range(rank):
            if before[axis] or after[axis]:
                n = node.dim(0, axis)
                x = tf.gather(x, padded_indices(n, before[axis], after[axis], mode), axis=axis)
        return x
    cut = [slice(max(-b, 0), -max(-a, 0) or None) for b, a in zip(before, after, strict=True)]
    if any(p < 0 for p in given):
        x = x[tuple(cut)]
    widths = [[max(b, 0), max(a, 0)] for b, a in zip(before, after, strict=True)]
    if x.dtype != tf.bool and (value is None or node.is_const(2)):
        return tf.pad(x, widths, constant_values=0 if value is None else tf.reshape(value, []))
    outside = tf.pad(tf.zeros(tf.shape(x), tf.int8), widths, constant_values=1)  # tf.pad has no derivative by its value
    wide = tf.pad(tf.cast(x, tf.int8), widths) if x.dtype == tf.bool else tf.pad(x, widths)
    fill = tf.zeros((), x.dtype) if value is None else tf.reshape(value, [])
    return tf.where(tf.equal(outside, 1), fill, tf.cast(wide, x.dtype))


def padded_indices(n: int, before: int, after: int, mode: str) -> np.ndarray:
    """Which element stands at each place of a padded axis of n elements."""
    places = np.arange(-before, n + after)
    if mode == "edge":
        return places.clip(0, n - 1)
    if mode == "wrap":
        return places % n
    if mode == "reflect":
        period = max(2 * (n - 1), 1)
        places = places % period
        return np.where(places >= n, period - places, places)
    raise Unsupported(f"Pad mode {mode!r}: the standard has constant, reflect, edge and wrap")


@TABLE.rule("DepthToSpace", since=1)
def depth_to_space(node: Node, x: Any) -> Any:
    n, c, h, w = sizes(x)
    b = int(node.attr("blocksize"))
    if node.attr("mode") == "CRD":
        y = tf.transpose(tf.reshape(x, [n, c // (b * b), b, b, h, w]), [0, 1, 4, 2, 5, 3])
    else:
        y = tf.transpose(tf.reshape(x, [n, b, b, c // (b * b), h, w]), [0, 3, 4, 1, 5, 2])
    return tf.reshape(y, [n, c // (b * b), h * b, w * b])


@TABLE.rule("SpaceToDepth", since=1)
def space_to_depth(node: Node, x: Any) -> Any:
    n, c, h, w = sizes(x)
    b = int(node.attr("blocksize"))
    order = [0, 1, 3, 5, 2, 4] if node.attr("mode") == "CRD" else [0, 3, 5, 1, 2, 4]
    y = tf.transpose(tf.reshape(x, [n, c, h // b, b, w // b, b]), order)
    return tf.reshape(y, [n, c * b * b, h // b, w // b])


@TABLE.rule("Trilu", since=14)
def trilu(node: Node, x: Any, k: Any = None) -> Any:
    dims = sizes(x)
    rows, columns = tf.range(dims[-2])[:, None], tf.range(dims[-1])[None, :]
    diagonal = 0 if k is None else tf.cast(tf.reshape(k, []), tf.int64)
    offset = tf.cast(columns - rows, tf.int64)
    kept = offset >= diagonal if node.attr("upper") else offset <= diagonal
    return tf.where(kept, x, tf.zeros((), x.dtype))


@TABLE.rule("Constant", since=1)
def constant(node: Node) -> Any:
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if node.attr(name) is not None:
            return tf.constant(np.asarray(node.attr(name)), native_dtype(node.outputs[0].dtype))
    raise Unsupported(f"{node}: the constant is no dense number tensor")


@TABLE.rule("ConstantOfShape", since=9)
def constant_of_shape(node: Node, shape: Any) -> Any:
    given = node.attr("value")
    value = np.zeros(1, np.float32) if given is None else np.asarray(given)
    return tf.fill(shape, tf.constant(value.reshape(())))


@TABLE.rule("Shape", since=1)
def shape(node: Node, x: Any) -> Any:
    rank = node.rank()
    start, end = int(node.attr("start") or 0), node.attr("end")
    first = min(max(start + rank if start < 0 else start, 0), rank)
    stop = rank if end is None else min(max(int(end) + rank if int(end) < 0 else int(end), 0), rank)
    return tf.shape(x, out_type=tf.int64)[first : max(first, stop)]


@TABLE.rule("Size", since=1)
def size(node: Node, x: Any) -> Any:
    return tf.size(x, out_type=tf.int64)


@TABLE.rule("Range", since=11)
def range_(node: Node, start: Any, limit: Any, delta: Any) -> Any:
    start, limit, delta = (tf.reshape(v, []) for v in (start, limit, delta))
    if not start.dtype.is_floating:
        return tf.range(start, limit, delta)
    count = tf.maximum(tf.cast(tf.math.ceil((limit - start) / delta), tf.int32), 0)  # tf.range passes no derivative on
    return start + tf.cast(tf.range(count), start.dtype) * delta


@TABLE.rule("EyeLike", since=9)
def eye_like(node: Node, x: Any) -> Any:
    dims, dtype = sizes(x), x.dtype
    if node.attr("dtype") is not None:
        dtype = dtype_of_onnx(int(node.attr("dtype")))
    offset = tf.range(dims[1])[None, :] - tf.range(dims[0])[:, None]
    return tf.cast(tf.equal(offset, int(node.attr("k"))), dtype)
