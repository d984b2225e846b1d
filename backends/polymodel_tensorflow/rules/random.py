"""Operators that draw random numbers from TensorFlow's own generator.

They are seeded: two runs of a program draw the same numbers, in every step others.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from polymodel.plan import Node
from polymodel_tensorflow.compat import tf
from polymodel_tensorflow.dtypes import dtype_of_onnx
from polymodel_tensorflow.rules.table import TABLE


def _seed(node: Node) -> int:
    """TensorFlow takes whole numbers; the standard's float32 is read by its bits, so that 0.25 and 0.5 differ."""
    given = node.attr("seed")
    return int(np.float32(given).view(np.int32)) & 0x7FFFFFFF if given is not None else zlib.crc32(node.name.encode()) >> 1


def _sampling_type(dtype: Any) -> Any:
    return dtype if dtype in (tf.float32, tf.float64) else tf.float32


@TABLE.rule("Dropout", since=7)
def dropout(node: Node, x: Any, ratio: Any = None, training: Any = None) -> tuple[Any, Any]:
    """Without training_mode, or with ratio 0, the input itself and a mask of ones."""
    everything = tf.ones(tf.shape(x), tf.bool)
    if training is None or (node.is_const(2) and not bool(node.const(2))):
        return x, everything
    rate = tf.cast(0.5 if ratio is None else tf.reshape(ratio, []), tf.float32)
    mask = tf.random.uniform(tf.shape(x), dtype=tf.float32, seed=_seed(node)) >= rate
    if not node.is_const(2):
        mask = tf.logical_or(mask, tf.logical_not(tf.reshape(training, [])))
        rate = tf.where(tf.reshape(training, []), rate, 0.0)
    scale = tf.math.divide_no_nan(tf.constant(1, x.dtype), tf.constant(1, x.dtype) - tf.cast(rate, x.dtype))
    return x * tf.cast(mask, x.dtype) * scale, mask


def _normal(node: Node, shape: Any, dtype: Any) -> Any:
    drawn = tf.random.normal(
        shape, node.attr("mean"), node.attr("scale"), dtype=_sampling_type(dtype), seed=_seed(node)
    )
    return tf.cast(drawn, dtype)


def _uniform(node: Node, shape: Any, dtype: Any) -> Any:
    drawn = tf.random.uniform(
        shape, node.attr("low"), node.attr("high"), dtype=_sampling_type(dtype), seed=_seed(node)
    )
    return tf.cast(drawn, dtype)


@TABLE.rule("RandomNormal", since=1)
def random_normal(node: Node) -> Any:
    return _normal(node, list(node.attr("shape")), dtype_of_onnx(int(node.attr("dtype"))))


@TABLE.rule("RandomUniform", since=1)
def random_uniform(node: Node) -> Any:
    return _uniform(node, list(node.attr("shape")), dtype_of_onnx(int(node.attr("dtype"))))


def _type_like(node: Node, x: Any) -> Any:
    return x.dtype if node.attr("dtype") is None else dtype_of_onnx(int(node.attr("dtype")))


@TABLE.rule("RandomNormalLike", since=1)
def random_normal_like(node: Node, x: Any) -> Any:
    return _normal(node, tf.shape(x), _type_like(node, x))


@TABLE.rule("RandomUniformLike", since=1)
def random_uniform_like(node: Node, x: Any) -> Any:
    return _uniform(node, tf.shape(x), _type_like(node, x))


@TABLE.rule("Bernoulli", since=15)
def bernoulli(node: Node, p: Any) -> Any:
    drawn = tf.random.uniform(tf.shape(p), dtype=_sampling_type(p.dtype), seed=_seed(node))
    return tf.cast(drawn < tf.cast(p, drawn.dtype), _type_like(node, p))


@TABLE.rule("Multinomial", since=7)
def multinomial(node: Node, x: Any) -> Any:
    """(batch, classes) unnormalized log-probabilities -> (batch, sample_size) classes, with replacement."""
    wide = tf.cast(tf.stop_gradient(x), _sampling_type(x.dtype))
    drawn = tf.random.categorical(wide, int(node.attr("sample_size")), dtype=tf.int64, seed=_seed(node))
    return tf.cast(drawn, dtype_of_onnx(int(node.attr("dtype"))))
