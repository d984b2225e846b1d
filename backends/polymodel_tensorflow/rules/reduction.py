"""Operators that reduce axes.

Derivatives at ties: ReduceMax and ReduceMin share it evenly among the tied elements; TopK gives it to the one chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from polymodel.feeds import is_float
from polymodel.plan import Node
from polymodel_tensorflow.compat import tf
from polymodel_tensorflow.rules.table import TABLE, product, sizes, unswapped

_NARROW = frozenset({"int8", "int16", "uint8"})


def _wide(node: Node, x: Any) -> Any:
    """Integers are reduced in 32 bits or more: TensorFlow lacks kernels for narrow ones."""
    return tf.cast(x, tf.int64) if node.dtype() in _NARROW else x


def axes_of(node: Node) -> tuple[int, ...] | None:
    """The axes to reduce, counted from the front; None when there is nothing to do.

    They are an input since opset 13 (ReduceSum) or 18 (the others), an attribute before.
    """
    given = node.attr("axes")
    if node.has_input(1):
        given = tuple(int(a) for a in node.const(1))
    if not given:
        return None if node.attr("noop_with_empty_axes") else tuple(range(node.rank(0)))
    return tuple(a % node.rank(0) for a in given)


def _sum(x: Any, axes: Any, keep: bool) -> Any:
    return tf.reduce_sum(x, axes, keepdims=keep)


def _log_sum_exp(x: Any, axes: Any, keep: bool) -> Any:
    """Shifted by the maximum, which is taken as 0 where it is not finite, so that infinities come out right."""
    top = tf.reduce_max(unswapped(x), axes, keepdims=True)
    top = tf.stop_gradient(tf.where(tf.math.is_finite(top), top, tf.zeros_like(top)))
    result = tf.math.log(_sum(tf.exp(x - top), axes, True)) + top
    return result if keep else tf.squeeze(result, axes)


def _norm2(x: Any, axes: Any, keep: bool) -> Any:
    if not x.dtype.is_floating:
        return tf.sqrt(_sum(tf.square(tf.cast(x, tf.float64)), axes, keep))
    return tf.sqrt(_sum(tf.square(x), axes, keep))


def _log_sum(x: Any, axes: Any, keep: bool) -> Any:
    return tf.math.log(_sum(x if x.dtype.is_floating else tf.cast(x, tf.float64), axes, keep))


_REDUCE: dict[str, Callable[[Any, Any, bool], Any]] = {
    "ReduceSum": _sum,
    "ReduceMean": lambda x, axes, keep: tf.reduce_mean(x, axes, keepdims=keep),
    "ReduceMax": lambda x, axes, keep: tf.reduce_max(unswapped(x), axes, keepdims=keep),
    "ReduceMin": lambda x, axes, keep: tf.reduce_min(unswapped(x), axes, keepdims=keep),
    "ReduceProd": lambda x, axes, keep: tf.reduce_prod(x, axes, keepdims=keep),
    "ReduceL1": lambda x, axes, keep: _sum(tf.abs(x), axes, keep),
    "ReduceL2": _norm2,
    "ReduceLogSum": _log_sum,
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceSumSquare": lambda x, axes, keep: _sum(tf.square(x), axes, keep),
}

# With noop_with_empty_axes and no axes the operator still does what it does to single elements.
_ALONE: dict[str, Callable[[Any], Any]] = {
    "ReduceL1": tf.abs,
    "ReduceL2": tf.abs,
    "ReduceLogSum": tf.math.log,
    "ReduceSumSquare": tf.square,
}


def _register() -> None:
    for op_type, function in _REDUCE.items():

        def rule(
            node: Node, x: Any, axes_input: Any = None, f: Callable[[Any, Any, bool], Any] = function
        ) -> Any:
            axes = axes_of(node)
            if axes is None:
                return _ALONE.get(node.op_type, tf.identity)(x)
            if node.dtype() == "bool":
                f = {"ReduceMax": _any, "ReduceMin": _all}[node.op_type]
                return f(x, axes, bool(node.attr("keepdims")))
            if node.op_type == "ReduceLogSumExp" and not is_float(node.dtype()):
                x = tf.cast(x, tf.float64)
            return tf.cast(f(_wide(node, x), axes, bool(node.attr("keepdims"))), node_dtype(node))

        TABLE.rule(op_type, since=1)(rule)


def _any(x: Any, axes: Any, keep: bool) -> Any:
    return tf.reduce_any(x, axes, keepdims=keep)


def _all(x: Any, axes: Any, keep: bool) -> Any:
    return tf.reduce_all(x, axes, keepdims=keep)


def node_dtype(node: Node) -> Any:
    """The type of the first output."""
    return tf.as_dtype(node.outputs[0].dtype)


_register()


@TABLE.rule("ArgMax", "ArgMin", since=1)
def arg_extreme(node: Node, x: Any) -> Any:
    axis = node.axis()
    find = tf.argmax if node.op_type == "ArgMax" else tf.argmin
    x = unswapped(_wide(node, x))
    if node.attr("select_last_index"):
        index = sizes(x)[axis] - 1 - tf.cast(find(tf.reverse(x, [axis]), axis), tf.int32)
    else:
        index = find(x, axis)
    index = tf.cast(index, tf.int64)
    return tf.expand_dims(index, axis) if node.attr("keepdims") else index


@TABLE.rule("CumSum", since=11)
def cum_sum(node: Node, x: Any, axis: Any) -> Any:
    return tf.cumsum(
        x, int(node.const(1).reshape(())), exclusive=bool(node.attr("exclusive")), reverse=bool(node.attr("reverse"))
    )


@TABLE.rule("TopK", since=10)
def top_k(node: Node, x: Any, k: Any) -> tuple[Any, Any]:
    """TensorFlow finds the largest of the last axis, lower index first among equals, as the standard wants.

    The smallest are the largest of the order-reversed values: -x, or ~x for integers, which cannot overflow.
    """
    axis, last = node.axis(), node.rank(0) - 1
    count = int(node.const(1).reshape(-1)[0]) if node.is_const(1) else tf.cast(tf.reshape(k, []), tf.int32)
    turned = _swap(x, axis, last)
    if turned.shape[-1] == 0:  # the derivative of top_k divides by it
        values, indices = turned, tf.zeros_like(turned, tf.int32)
    elif node.attr("largest"):
        values, indices = tf.math.top_k(turned, count, sorted=True)
    else:
        reversed_order = tf.negative if is_float(node.dtype()) else tf.bitwise.invert
        values, indices = tf.math.top_k(reversed_order(turned), count, sorted=True)
        values = reversed_order(values)
    return _swap(values, axis, last), tf.cast(_swap(indices, axis, last), tf.int64)


def _swap(x: Any, a: int, b: int) -> Any:
    if a == b:
        return x
    perm = np.arange(len(x.shape))
    perm[[a, b]] = perm[[b, a]]
    return tf.transpose(x, perm)


def count_of(x: Any, axes: Any) -> Any:
    """How many elements are reduced."""
    dims = sizes(x)
    return product([dims[a] for a in axes])
