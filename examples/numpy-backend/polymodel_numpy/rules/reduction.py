"""Sums, means, extremes and orders along axes. Sums are accumulated in float64."""

import math
from typing import Any

import numpy as np

from polymodel.plan import Node
from polymodel_numpy.rules.table import TABLE, floats, ints


def total(x: Any, axes: Any, keep: bool = True) -> Any:
    """The sum along axes, in float64 for floating-point numbers."""
    return x.sum(axes, keepdims=keep, dtype=np.float64 if x.dtype.kind == "f" else x.dtype)


def _axes(node: Node, x: Any, given: Any) -> tuple[int, ...]:
    if given is None or not given.size:
        return () if node.attr("noop_with_empty_axes") else tuple(range(x.ndim))
    return tuple(a % x.ndim for a in ints(given))


@TABLE.rule("ReduceSum", since=13)
@TABLE.rule("ReduceMean", since=18, when=floats)
def reduce_sum(node: Node, x: Any, given: Any = None) -> Any:
    axes = _axes(node, x, given)
    share = math.prod(x.shape[a] for a in axes) if node.op_type == "ReduceMean" else 1
    y = total(x, axes) / share if share > 1 else total(x, axes)
    shape = y.shape
    y = y if node.attr("keepdims") else y.squeeze(axes)
    return y, lambda g: (np.broadcast_to(g.reshape(shape), x.shape) / share,)


@TABLE.rule("ReduceMax", "ReduceMin", since=18)
def reduce_extreme(node: Node, x: Any, given: Any = None) -> Any:
    largest, axes = node.op_type == "ReduceMax", _axes(node, x, given)
    limits = {"f": (-np.inf, np.inf), "b": (False, True)}.get(x.dtype.kind) or (np.iinfo(x.dtype).min, np.iinfo(x.dtype).max)
    y = x.max(axes, keepdims=True, initial=limits[0]) if largest else x.min(axes, keepdims=True, initial=limits[1])
    chosen = x == y
    return y if node.attr("keepdims") else y.squeeze(axes), lambda g: (chosen * g.reshape(y.shape) / total(chosen, axes),)


@TABLE.rule("ArgMax", "ArgMin", since=13)
def arg_extreme(node: Node, x: Any) -> Any:
    axis, find = node.axis(rank=x.ndim), np.argmax if node.op_type == "ArgMax" else np.argmin
    y = x.shape[axis] - 1 - find(np.flip(x, axis), axis) if node.attr("select_last_index") else find(x, axis)
    return np.expand_dims(y, axis) if node.attr("keepdims") else y, None


@TABLE.rule("Softmax", since=13)
def softmax(node: Node, x: Any) -> Any:
    axis = node.axis(rank=x.ndim)
    e = np.exp(x - x.max(axis, keepdims=True, initial=-np.inf))
    y = e / total(e, axis)
    return y, lambda g: (y * (g - total(g * y, axis)),)


@TABLE.rule("LogSoftmax", since=13)
def log_softmax(node: Node, x: Any) -> Any:
    return log_probabilities(x, node.axis(rank=x.ndim))


def log_probabilities(x: Any, axis: int) -> Any:
    """The rule of LogSoftmax."""
    z = x - x.max(axis, keepdims=True, initial=-np.inf)
    y = z - np.log(total(np.exp(z), axis))
    return y, lambda g: (g - np.exp(y) * total(g, axis),)
