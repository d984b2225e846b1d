"""Conversions between element types, and what passes/carry_types.py asks for besides."""

from __future__ import annotations

from typing import Any

from polymodel.plan import Node
from polymodel_tensorflow.compat import tf
from polymodel_tensorflow.dtypes import dtype_of_onnx
from polymodel_tensorflow.rules.table import TABLE


@TABLE.rule("Cast", since=9)
def cast(node: Node, x: Any) -> Any:
    return _to(x, dtype_of_onnx(int(node.attr("to"))))


@TABLE.rule("CastLike", since=15)
def cast_like(node: Node, x: Any, like: Any) -> Any:
    return _to(x, like.dtype)


def _to(x: Any, dtype: Any) -> Any:
    if dtype == tf.bool and x.dtype != tf.bool:
        return tf.not_equal(x, tf.zeros((), x.dtype))
    wide = tf.cast(x, dtype)
    if x.dtype in (tf.float16, tf.bfloat16) and dtype.is_floating:
        # tf.gather's derivative comes as slices, which the derivative of a cast takes to half before they are added up; that of a
        # reshape adds them up first.
        return tf.reshape(wide, wide.shape if wide.shape.is_fully_defined() else tf.shape(wide))
    return wide


@TABLE.rule("PassThrough", since=1, domain="polymodel")
def pass_through(node: Node, x: Any, value: Any) -> Any:
    """The second input, with the derivative of the first."""
    return _pass_through(x, value)


@tf.custom_gradient
def _pass_through(x: Any, value: Any) -> Any:
    return tf.identity(value), lambda d: (d, None)
