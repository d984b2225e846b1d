"""Normalizations."""

from __future__ import annotations

from typing import Any

import numpy as np

from polymodel.plan import Node
from polymodel_tensorflow.compat import tf
from polymodel_tensorflow.dtypes import dtype_of_onnx
from polymodel_tensorflow.rules.table import TABLE, product, sizes

_FUSED = frozenset({"float16", "bfloat16", "float32"})


def _eps(node: Node, like: Any) -> Any:
    return tf.cast(node.attr("epsilon"), like.dtype)


@TABLE.rule("BatchNormalization", since=7)
def batch_normalization(node: Node, x: Any, scale: Any, bias: Any, mean: Any, variance: Any) -> Any:
    """x has channels last. Running statistics follow the standard: biased variance, running * momentum + batch * (1 - m).

    TensorFlow's fused kernel has no derivative of the statistics that it returns, and says 0: where they are
    differentiated (lower.prepare marks such calls), they are composed. In inference mode it has none by the running
    statistics: it is used where lower.prepare says that nothing is differentiated.
    """
    if not node.attr("training_mode"):
        if node.attr("inference") and node.rank() == 4 and {node.dtype(i) for i in range(5)} == {"float32"}:
            y: Any = tf.raw_ops.FusedBatchNormV3(
                x=x, scale=scale, offset=bias, mean=mean, variance=variance, epsilon=node.attr("epsilon"), is_training=False
            ).y
            return y
        wide = variance.dtype
        factor = tf.cast(scale, wide) * tf.math.rsqrt(variance + _eps(node, variance))
        shift = tf.cast(bias, wide) - mean * factor
        return tf.cast(tf.cast(x, wide) * factor + shift, x.dtype)
    if node.dtype() in _FUSED and not node.attr("statistics_have_gradients"):
        y, batch_mean, batch_variance = _fused(node, x, scale, bias)
    else:
        axes = list(range(node.rank() - 1))
        wide = tf.cast(x, mean.dtype)
        batch_mean, batch_variance = tf.nn.moments(wide, axes)
        factor = tf.cast(scale, wide.dtype) * tf.math.rsqrt(batch_variance + _eps(node, wide))
        y = tf.cast((wide - batch_mean) * factor + tf.cast(bias, wide.dtype), x.dtype)
    momentum = tf.cast(node.attr("momentum"), mean.dtype)
    rest = tf.cast(1, mean.dtype) - momentum
    new_mean = mean * momentum + tf.cast(batch_mean, mean.dtype) * rest
    return y, new_mean, variance * momentum + tf.cast(batch_variance, variance.dtype) * rest


def _fused(node: Node, x: Any, scale: Any, bias: Any) -> tuple[Any, Any, Any]:
    """TensorFlow's kernel divides the variance that it returns by n - 1; the standard divides by n."""
    dims = sizes(x)
    flat = x if node.rank() == 4 else tf.reshape(x, [dims[0], product(dims[1:-1]), 1, dims[-1]])
    empty = tf.zeros([0], tf.float32)
    result = tf.raw_ops.FusedBatchNormV3(
        x=flat,
        scale=tf.cast(scale, tf.float32),
        offset=tf.cast(bias, tf.float32),
        mean=empty,
        variance=empty,
        epsilon=node.attr("epsilon"),
        is_training=True,
    )
    y = result.y if node.rank() == 4 else tf.reshape(result.y, dims)
    n = product(dims[:-1])
    if isinstance(n, int):
        biased = result.batch_variance * ((n - 1) / n if n > 1 else 1.0)
    else:
        count = tf.cast(n, tf.float32)
        biased = result.batch_variance * (tf.maximum(count - 1, 1) / count)
    return y, result.batch_mean, biased


@TABLE.rule("LayerNormalization", since=17)
def layer_normalization(node: Node, x: Any, scale: Any, bias: Any = None) -> tuple[Any, Any, Any]:
    axes = list(range(node.axis(), node.rank()))
    wide = tf.cast(x, dtype_of_onnx(int(node.attr("stash_type")))) if x.dtype != tf.float64 else x
    mean = tf.reduce_mean(wide, axes, keepdims=True)
    centred = wide - mean
    inverse = tf.math.rsqrt(tf.reduce_mean(tf.square(centred), axes, keepdims=True) + _eps(node, wide))
    y = tf.cast(centred * inverse, x.dtype) * scale
    kept = dtype_of_onnx(int(node.attr("stash_type")))
    return (y if bias is None else y + bias), tf.cast(mean, kept), tf.cast(inverse, kept)


@TABLE.rule("RMSNormalization", since=23)
def rms_normalization(node: Node, x: Any, scale: Any) -> Any:
    axes = list(range(node.axis(), node.rank()))
    wide = tf.cast(x, dtype_of_onnx(int(node.attr("stash_type")))) if x.dtype != tf.float64 else x
    inverse = tf.math.rsqrt(tf.reduce_mean(tf.square(wide), axes, keepdims=True) + _eps(node, wide))
    return tf.cast(wide * inverse, x.dtype) * scale


def _normal(x: Any, axes: list[int], epsilon: float) -> Any:
    mean = tf.reduce_mean(x, axes, keepdims=True)
    centred = x - mean
    return centred * tf.math.rsqrt(tf.reduce_mean(tf.square(centred), axes, keepdims=True) + tf.cast(epsilon, x.dtype))


@TABLE.rule("InstanceNormalization", since=6)
def instance_normalization(node: Node, x: Any, scale: Any, bias: Any) -> Any:
    shape = [-1, *[1] * (node.rank() - 2)]
    y = _normal(x, list(range(2, node.rank())), node.attr("epsilon"))
    return y * tf.reshape(scale, shape) + tf.reshape(bias, shape)


@TABLE.rule("GroupNormalization", since=21)
def group_normalization(node: Node, x: Any, scale: Any, bias: Any) -> Any:
    """Scale and bias belong to the channels."""
    dims, groups = sizes(x), int(node.attr("num_groups"))
    wide = tf.cast(x, dtype_of_onnx(int(node.attr("stash_type")))) if x.dtype != tf.float64 else x
    y = tf.reshape(wide, [dims[0], groups, -1])
    y = tf.cast(tf.reshape(_normal(y, [2], node.attr("epsilon")), dims), x.dtype)
    shape = [-1, *[1] * (node.rank() - 2)]
    return y * tf.reshape(scale, shape) + tf.reshape(bias, shape)


@TABLE.rule("LRN", since=1)
def lrn(node: Node, x: Any) -> Any:
    """y = x / (bias + alpha / size * sum of squares over channels c - (size - 1) // 2 .. c + size // 2) ^ beta."""
    size, channels = int(node.attr("size")), node.dim(0, 1)
    widths = np.zeros((node.rank(), 2), int)
    widths[1] = (size - 1) // 2, size // 2
    squares = tf.pad(tf.square(x), widths)
    total = tf.add_n([squares[:, i : i + channels] for i in range(size)])
    base = _cast(node, "bias", x) + tf.constant(node.attr("alpha") / size, x.dtype) * total
    return x * tf.pow(base, -_cast(node, "beta", x))


def _cast(node: Node, name: str, like: Any) -> Any:
    return tf.cast(node.attr(name), like.dtype)


@TABLE.rule("LpNormalization", since=1)
def lp_normalization(node: Node, x: Any) -> Any:
    """A vector of norm 0 stays 0."""
    axis = node.axis()
    if int(node.attr("p")) == 1:
        norm = tf.reduce_sum(tf.abs(x), axis, keepdims=True)
        return tf.math.divide_no_nan(x, norm)
    squares = tf.reduce_sum(tf.square(x), axis, keepdims=True)
    safe = tf.where(squares > 0, squares, tf.ones_like(squares))
    return tf.where(squares > 0, x * tf.math.rsqrt(safe), tf.zeros_like(x))


@TABLE.rule("MeanVarianceNormalization", since=9)
def mean_variance_normalization(node: Node, x: Any) -> Any:
    """(x - mean) / (std + 1e-9), as the standard's function body."""
    axes = [a % node.rank() for a in node.attr("axes")]
    centred = x - tf.reduce_mean(x, axes, keepdims=True)
    deviation = tf.sqrt(tf.reduce_mean(tf.square(centred), axes, keepdims=True))
    return centred / (deviation + tf.constant(1e-9, x.dtype))
