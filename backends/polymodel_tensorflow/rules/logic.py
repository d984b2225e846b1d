"""Comparisons, choices and bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polymodel.plan import Node
from polymodel_tensorflow.compat import tf
from polymodel_tensorflow.dtypes import dtype_of_onnx
from polymodel_tensorflow.rules.table import TABLE

_COMPARE: dict[str, tuple[int, Callable[[Any, Any], Any]]] = {
    "Equal": (7, tf.equal),
    "Less": (7, tf.less),
    "LessOrEqual": (12, tf.less_equal),
    "Greater": (7, tf.greater),
    "GreaterOrEqual": (12, tf.greater_equal),
    "And": (7, tf.logical_and),
    "Or": (7, tf.logical_or),
    "Xor": (7, tf.math.logical_xor),
    "BitwiseAnd": (18, tf.bitwise.bitwise_and),
    "BitwiseOr": (18, tf.bitwise.bitwise_or),
    "BitwiseXor": (18, tf.bitwise.bitwise_xor),
}


def _register() -> None:
    for op_type, (since, function) in _COMPARE.items():

        def rule(node: Node, a: Any, b: Any, f: Callable[[Any, Any], Any] = function) -> Any:
            return f(a, b)

        TABLE.rule(op_type, since=since)(rule)


_register()


@TABLE.rule("Not", since=1)
def logical_not(node: Node, x: Any) -> Any:
    return tf.logical_not(x)


@TABLE.rule("BitwiseNot", since=18)
def bitwise_not(node: Node, x: Any) -> Any:
    return tf.bitwise.invert(x)


@TABLE.rule("BitShift", since=11)
def bit_shift(node: Node, x: Any, by: Any) -> Any:
    """A shift by a negative number or by the width or more leaves nothing of the value but, to the right, its sign."""
    width = x.dtype.size * 8
    beyond = tf.logical_or(by < 0, by >= width)
    kept = tf.where(beyond, tf.constant(width - 1, by.dtype), by)
    if node.attr("direction") == "LEFT":
        return tf.where(beyond, tf.zeros((), x.dtype), tf.bitwise.left_shift(x, kept))
    shifted = tf.bitwise.right_shift(x, kept)
    return tf.where(beyond, tf.zeros((), x.dtype), shifted) if x.dtype.is_unsigned else shifted


@TABLE.rule("BitCast", since=26)
def bit_cast(node: Node, x: Any) -> Any:
    target = dtype_of_onnx(int(node.attr("to")))
    bits = tf.cast(x, tf.uint8) if x.dtype == tf.bool else x
    return tf.not_equal(bits, tf.zeros((), bits.dtype)) if target == tf.bool else tf.bitcast(bits, target)


@TABLE.rule("Where", since=9)
def where(node: Node, condition: Any, a: Any, b: Any) -> Any:
    return tf.where(condition, a, b)


@TABLE.rule("IsNaN", since=9)
def is_nan(node: Node, x: Any) -> Any:
    return tf.math.is_nan(x)


@TABLE.rule("IsInf", since=10)
def is_inf(node: Node, x: Any) -> Any:
    infinite = tf.math.is_inf(x)
    if not node.attr("detect_negative"):
        infinite = tf.logical_and(infinite, x > 0)
    if not node.attr("detect_positive"):
        infinite = tf.logical_and(infinite, x < 0)
    return infinite
