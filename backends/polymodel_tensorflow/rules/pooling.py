"""Pooling. Inputs and outputs have channels last: see layout.py.

Derivatives at ties: MaxPool gives it to one of the tied elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import product
from typing import Any

import numpy as np

from polymodel.plan import Node
from polymodel_tensorflow.compat import tf
from polymodel_tensorflow.rules.convolution import Pads, padded, window
from polymodel_tensorflow.rules.table import TABLE, never_empty, unswapped


def _geometry(node: Node) -> tuple[list[int], list[int], list[int], Pads, list[int]]:
    """Kernel, strides, dilations, pads and the extra elements after the end that ceil_mode asks for."""
    kernel = list(node.attr("kernel_shape"))
    strides, dilations, pads = window(node, kernel)
    extra = [0] * len(kernel)
    if node.attr("ceil_mode"):
        for i, (k, s, d, p) in enumerate(zip(kernel, strides, dilations, pads, strict=True)):
            n = node.dim(0, i + 2)
            reach = (node.out_shape()[i + 2] - 1) * s + d * (k - 1) + 1
            extra[i] = max(reach - n - sum(p), 0)
    return kernel, strides, dilations, pads, extra


def _lengthened(pads: Pads, extra: Sequence[int]) -> Pads:
    return [(before, after + e) for (before, after), e in zip(pads, extra, strict=True)]


def _taps(x: Any, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> list[Any]:
    """For each place in the kernel, the elements that it sees."""
    spans = [d * (k - 1) for k, d in zip(kernel, dilations, strict=True)]
    found = []
    for place in product(*(range(k) for k in kernel)):
        index = [slice(None)]
        for p, s, d, span in zip(place, strides, dilations, spans, strict=True):
            index.append(slice(p * d, p * d - span or None, s))
        found.append(x[tuple(index)])
    return found


def _native(x: Any, dilations: Sequence[int]) -> bool:
    """Whether TensorFlow's pooling kernels take it: no dilation; with three spatial axes float32 only."""
    floats = (tf.float16, tf.bfloat16, tf.float32, tf.float64) if len(dilations) < 3 else (tf.float32,)
    return len(dilations) <= 3 and all(d == 1 for d in dilations) and x.dtype in floats


def _lowest(dtype: Any) -> Any:
    return -np.inf if dtype.is_floating else dtype.min


@TABLE.rule("MaxPool", since=1)
@never_empty
def max_pool(node: Node, x: Any) -> Any:
    kernel, strides, dilations, pads, extra = _geometry(node)
    wide = padded(x, _lengthened(pads, extra), tf.constant(_lowest(x.dtype), x.dtype))
    if node.has_output(1):
        return _with_indices(node, x, wide, kernel, strides, dilations, pads)
    if _native(wide, dilations):
        return _pool(tf.nn.max_pool1d, tf.nn.max_pool2d, tf.nn.max_pool3d)(unswapped(wide, rectified=True), kernel, strides, "VALID")
    return reduce(tf.maximum, _taps(wide, kernel, strides, dilations))


def _pool(*by_rank: Any) -> Any:
    def call(x: Any, kernel: Sequence[int], strides: Sequence[int], padding: str) -> Any:
        return by_rank[len(kernel) - 1](x, list(kernel), list(strides), padding)

    return call


def _with_indices(
    node: Node, x: Any, wide: Any, kernel: list[int], strides: list[int], dilations: list[int], pads: Pads
) -> tuple[Any, Any]:
    """Indices count the elements of the whole (N, C, ...) tensor; storage_order=1 counts the first spatial axis fastest."""
    size = [node.dim(0, i + 2) for i in range(len(kernel))]
    stacked = tf.stack(_taps(wide, kernel, strides, dilations))
    chosen = tf.argmax(stacked, 0, output_type=tf.int32)
    picked = tf.one_hot(chosen, stacked.shape[0], axis=0, on_value=True, off_value=False, dtype=tf.bool)
    best = tf.reduce_sum(tf.where(picked, stacked, tf.zeros_like(stacked)), 0)
    places = np.stack(list(product(*(range(k) for k in kernel))))
    order = list(range(len(size)))[:: -1 if node.attr("storage_order") else 1]
    weight = dict(zip(order, [int(np.prod([size[a] for a in order[i + 1 :]])) for i in range(len(order))], strict=True))
    index: Any = 0
    for axis, (s, d, (before, _)) in enumerate(zip(strides, dilations, pads, strict=True)):
        start = np.arange(stacked.shape[axis + 2]) * s - before
        place = tf.gather(tf.constant(places[:, axis] * d, tf.int64), chosen)
        shape = [1] * (len(size) + 2)
        shape[axis + 1] = -1
        index = index + (tf.reshape(tf.constant(start, tf.int64), shape) + place) * weight[axis]
    channels = x.shape[-1]
    planes = tf.range(tf.shape(x, out_type=tf.int64)[0])[:, None] * channels + tf.range(channels, dtype=tf.int64)
    planes = tf.reshape(planes, [-1, *[1] * len(size), channels])
    return best, index + planes * int(np.prod(size))


@TABLE.rule("AveragePool", since=1)
def average_pool(node: Node, x: Any) -> Any:
    """What lies beyond the pads (ceil_mode) never counts; the pads count with count_include_pad=1."""
    kernel, strides, dilations, pads, extra = _geometry(node)
    mean = _mean(padded(x, _lengthened(pads, extra)), kernel, strides, dilations)
    if not any(extra) and (node.attr("count_include_pad") or not any(b or a for b, a in pads)):
        return mean
    counts = np.ones((), np.int64)
    for i, (k, s, d, (before, after), e) in enumerate(zip(kernel, strides, dilations, pads, extra, strict=True)):
        n = node.dim(0, i + 2)
        counted = np.ones(before + n + after + e, np.int64)
        if node.attr("count_include_pad"):
            counted[before + n + after :] = 0
        else:
            counted[:before] = counted[before + n :] = 0
        out = (counted.size - d * (k - 1) - 1) // s + 1
        along = [counted[j * s : j * s + d * (k - 1) + 1 : d].sum() for j in range(out)]
        counts = counts[..., None] * np.array(along)
    factor = int(np.prod(kernel)) / counts[..., None]
    return mean * tf.constant(factor, x.dtype)


def _mean(x: Any, kernel: list[int], strides: list[int], dilations: list[int]) -> Any:
    if _native(x, dilations):
        return _pool(tf.nn.avg_pool1d, tf.nn.avg_pool2d, tf.nn.avg_pool3d)(x, kernel, strides, "VALID")
    taps = _taps(x, kernel, strides, dilations)
    return reduce(tf.add, taps) / tf.cast(len(taps), x.dtype)


@TABLE.rule("LpPool", since=1)
def lp_pool(node: Node, x: Any) -> Any:
    kernel, strides, dilations, pads, extra = _geometry(node)
    p = int(node.attr("p") or 2)
    powers = padded(tf.pow(tf.abs(x), tf.cast(p, x.dtype)), _lengthened(pads, extra))
    total = reduce(tf.add, _taps(powers, kernel, strides, dilations))
    return tf.pow(total, tf.constant(1 / p, x.dtype))


@TABLE.rule("GlobalAveragePool", since=1)
def global_average_pool(node: Node, x: Any) -> Any:
    return tf.reduce_mean(x, list(range(1, node.rank() - 1)), keepdims=True)


@TABLE.rule("GlobalMaxPool", since=1)
def global_max_pool(node: Node, x: Any) -> Any:
    return tf.reduce_max(unswapped(x), list(range(1, node.rank() - 1)), keepdims=True)
