"""Operators that act on each element by itself, and softmax.

Derivatives at kinks: relu'(0) = abs'(0) = 0; Max and Min give all of it to the first of tied inputs; Clip passes it at
the limits; Elu, Selu and Celu have the left derivative at 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

from polymodel.feeds import is_float
from polymodel.plan import Node
from polymodel_tensorflow.compat import tf
from polymodel_tensorflow.rules.table import TABLE, unswapped

_UNARY: dict[str, tuple[int, Callable[[Any], Any]]] = {
    "Abs": (6, tf.abs),
    "Acos": (7, tf.acos),
    "Acosh": (9, tf.acosh),
    "Asin": (7, tf.asin),
    "Asinh": (9, tf.asinh),
    "Atan": (7, tf.atan),
    "Atanh": (9, tf.atanh),
    "Ceil": (6, tf.math.ceil),
    "Cos": (7, tf.cos),
    "Cosh": (9, tf.cosh),
    "Erf": (9, tf.math.erf),
    "Exp": (6, tf.exp),
    "Floor": (6, tf.floor),
    "Identity": (1, lambda x: x),
    "Log": (6, tf.math.log),
    "Neg": (6, tf.negative),
    "Reciprocal": (6, tf.math.reciprocal),
    "Round": (11, tf.round),
    "Sigmoid": (6, tf.sigmoid),
    "Sign": (9, tf.sign),
    "Sin": (7, tf.sin),
    "Sinh": (9, tf.sinh),
    "Softplus": (1, tf.nn.softplus),
    "Softsign": (1, tf.nn.softsign),
    "Sqrt": (6, tf.sqrt),
    "Tan": (7, tf.tan),
    "Tanh": (6, tf.tanh),
}

# Element types for which TensorFlow has no kernel of the operator, and the type in which it is computed instead.
_WIDER = dict.fromkeys(("int8", "int16", "uint8"), tf.int64)
_WIDE_UNARY = frozenset({"Abs", "Neg", "Sign"})


def _register_unary() -> None:
    for op_type, (since, function) in _UNARY.items():

        def rule(node: Node, x: Any, f: Callable[[Any], Any] = function) -> Any:
            if node.op_type in _WIDE_UNARY and node.dtype() in _WIDER:
                return tf.cast(f(tf.cast(x, tf.int64)), x.dtype)
            return f(x)

        TABLE.rule(op_type, since=since)(rule)


_register_unary()


@TABLE.rule("Relu", since=6)
def relu(node: Node, x: Any) -> Any:
    """A NaN stays one: see `unfused`."""
    if node.dtype() in _WIDER:
        return tf.cast(tf.nn.relu(tf.cast(x, tf.int64)), x.dtype)
    return tf.nn.relu(unfused(x) if x.op.type in _FUSED_WITH_RELU and not _is_training(x) else x)


_FUSED_WITH_RELU = frozenset({"BiasAdd", "AddV2", "FusedBatchNormV3"})


def _is_training(x: Any) -> bool:
    return x.op.type == "FusedBatchNormV3" and bool(x.op.get_attr("is_training"))


@tf.custom_gradient
def unfused(x: Any) -> Any:
    """The same value, from an operator that the graph optimizer neither removes nor fuses.

    Product or normalization, bias and relu fused into one oneDNN kernel turn NaN into 0; one by one they keep it.
    """
    return tf.raw_ops.PlaceholderWithDefault(input=x, shape=x.shape), lambda d: d


def _two(f: Callable[[Any, Any], Any], node: Node, a: Any, b: Any) -> Any:
    """Apply an operator of two inputs; integers without a kernel go through int64, whose low bits are the same."""
    if node.dtype() in _WIDER:
        return tf.cast(f(tf.cast(a, tf.int64), tf.cast(b, tf.int64)), a.dtype)
    return f(a, b)


@TABLE.rule("Add", since=7)
def add(node: Node, a: Any, b: Any) -> Any:
    """A row (1, n) is added as a vector: TensorFlow fuses it wrongly with a product whose left factor is transposed.

    Fused with a row of more axes, (1, 1, n), a product keeps its own: they stay apart.
    """
    if node.rank(0) != node.rank(1):
        a, b = (unfused(x) if x.op.type == "MatMul" and y.shape.rank > 2 else x for x, y in ((a, b), (b, a)))
    if node.rank(0) == node.rank(1) == 2:
        a, b = (tf.reshape(x, [-1]) if x.shape[0] == 1 and y.shape[0] != 1 else x for x, y in ((a, b), (b, a)))
    return _two(tf.add, node, a, b)


@TABLE.rule("Sub", since=7)
def sub(node: Node, a: Any, b: Any) -> Any:
    return _two(tf.subtract, node, a, b)


@TABLE.rule("Mul", since=7)
def mul(node: Node, a: Any, b: Any) -> Any:
    return _two(tf.multiply, node, a, b)


@TABLE.rule("Div", since=7)
def div(node: Node, a: Any, b: Any) -> Any:
    if is_float(node.dtype()):
        return a / b
    return _two(tf.truncatediv, node, a, b)


@TABLE.rule("Mod", since=10)
def mod(node: Node, a: Any, b: Any) -> Any:
    """fmod=1 takes the sign of the dividend, fmod=0 that of the divisor."""
    if not is_float(node.dtype()):
        return _two(tf.truncatemod if node.attr("fmod") else tf.math.floormod, node, a, b)
    if not node.attr("fmod"):
        return tf.math.floormod(a, b)
    shape = tf.broadcast_dynamic_shape(tf.shape(a), tf.shape(b))
    return _truncated_remainder(tf.broadcast_to(a, shape), tf.broadcast_to(b, shape))


@tf.custom_gradient
def _truncated_remainder(a: Any, b: Any) -> Any:
    """TensorFlow has neither a derivative of this remainder nor a float16 kernel."""
    wide = tf.float32 if a.dtype in (tf.float16, tf.bfloat16) else a.dtype
    result = tf.cast(tf.truncatemod(tf.cast(a, wide), tf.cast(b, wide)), a.dtype)

    def backward(d: Any) -> tuple[Any, Any]:
        quotient = a / b
        return d, -d * tf.sign(quotient) * tf.floor(tf.abs(quotient))

    return result, backward


@TABLE.rule("Pow", since=7)
def power(node: Node, a: Any, b: Any) -> Any:
    """The result has the type of the base; a floating-point exponent of an integer base is computed in float64."""
    if node.is_const(1) and node.const(1).size == 1 and is_float(node.dtype()):
        exponent = float(node.const(1).reshape(()))
        if exponent == 2 and node.const(1).ndim == 0:
            return tf.square(a)
    base, exponent_type = node.dtype(0), node.dtype(1)
    if is_float(base):
        b = tf.cast(b, a.dtype)
        if node.is_const(1) and (node.const(1) == 0).any():  # the kernel's derivative is 0 * a^-1, NaN at 0
            a = tf.where(b == 0, tf.ones([], a.dtype), a)
        return tf.pow(a, b)
    if is_float(exponent_type):
        return tf.cast(tf.pow(tf.cast(a, tf.float64), tf.cast(b, tf.float64)), a.dtype)
    return tf.cast(tf.pow(tf.cast(a, tf.int64), tf.cast(b, tf.int64)), a.dtype)


@TABLE.rule("Max", since=8)
def maximum(node: Node, *xs: Any) -> Any:
    return reduce(lambda a, b: _extreme(tf.maximum, node, a, b), xs)


@TABLE.rule("Min", since=8)
def minimum(node: Node, *xs: Any) -> Any:
    return reduce(lambda a, b: _extreme(tf.minimum, node, a, b), xs)


def _extreme(f: Callable[[Any, Any], Any], node: Node, a: Any, b: Any) -> Any:
    return _two(f, node, a, b)


@TABLE.rule("Sum", since=8)
def total(node: Node, *xs: Any) -> Any:
    return reduce(tf.add, xs)


@TABLE.rule("Mean", since=8)
def mean(node: Node, *xs: Any) -> Any:
    return reduce(tf.add, xs) / tf.cast(len(xs), xs[0].dtype)


@TABLE.rule("Clip", since=11)
def clip(node: Node, x: Any, low: Any = None, high: Any = None) -> Any:
    if low is not None:
        x = _extreme(tf.maximum, node, x, low)
    return x if high is None else _extreme(tf.minimum, node, x, high)


def _attr(node: Node, name: str, like: Any) -> Any:
    return tf.cast(node.attr(name), like.dtype)


@TABLE.rule("LeakyRelu", since=6)
def leaky_relu(node: Node, x: Any) -> Any:
    return tf.where(x < 0, x * _attr(node, "alpha", x), x)


@TABLE.rule("PRelu", since=9)
def prelu(node: Node, x: Any, slope: Any) -> Any:
    if not is_float(node.dtype()):
        wide, factor = tf.cast(x, tf.int64), tf.cast(slope, tf.int64)
        return tf.cast(tf.where(wide < 0, wide * factor, wide), x.dtype)
    return tf.where(x < 0, x * slope, x)


def _negative_part(x: Any, alpha: Any) -> Any:
    """alpha * (exp(min(x, 0)) - 1); its derivative at 0 is alpha."""
    return alpha * tf.math.expm1(tf.minimum(x, tf.zeros((), x.dtype)))


@TABLE.rule("Elu", since=6)
def elu(node: Node, x: Any) -> Any:
    return tf.nn.relu(x) + _negative_part(x, _attr(node, "alpha", x))


@TABLE.rule("Selu", since=6)
def selu(node: Node, x: Any) -> Any:
    return _attr(node, "gamma", x) * (tf.nn.relu(x) + _negative_part(x, _attr(node, "alpha", x)))


@TABLE.rule("Celu", since=12)
def celu(node: Node, x: Any) -> Any:
    alpha = _attr(node, "alpha", x)
    return tf.nn.relu(x) + _negative_part(x / alpha, alpha)


def _unit(x: Any) -> Any:
    return tf.minimum(tf.maximum(x, tf.zeros((), x.dtype)), tf.ones((), x.dtype))


@TABLE.rule("HardSigmoid", since=6)
def hard_sigmoid(node: Node, x: Any) -> Any:
    return _unit(_attr(node, "alpha", x) * x + _attr(node, "beta", x))


@TABLE.rule("HardSwish", since=14)
def hard_swish(node: Node, x: Any) -> Any:
    return x * _unit(x / 6 + tf.cast(0.5, x.dtype))


@TABLE.rule("Gelu", since=20)
def gelu(node: Node, x: Any) -> Any:
    """tf.nn.gelu rounds its constants to float32."""
    approximate = node.attr("approximate") == "tanh"
    if x.dtype != tf.float64:
        return tf.nn.gelu(x, approximate=approximate)
    if approximate:
        return 0.5 * x * (1 + tf.tanh(tf.constant(math.sqrt(2 / math.pi), x.dtype) * (x + tf.constant(0.044715, x.dtype) * x**3)))
    return 0.5 * x * (1 + tf.math.erf(x * tf.constant(math.sqrt(0.5), x.dtype)))


@TABLE.rule("Mish", since=18)
def mish(node: Node, x: Any) -> Any:
    return x * tf.tanh(tf.nn.softplus(x))


@TABLE.rule("Swish", since=24)
def swish(node: Node, x: Any) -> Any:
    return x * tf.sigmoid(_attr(node, "alpha", x) * x)


@TABLE.rule("ThresholdedRelu", since=10)
def thresholded_relu(node: Node, x: Any) -> Any:
    return tf.where(x > _attr(node, "alpha", x), x, tf.zeros_like(x))


@TABLE.rule("Shrink", since=9)
def shrink(node: Node, x: Any) -> Any:
    """Integers are shrunk in float64, as the limit and the bias are real numbers."""
    wide = x if is_float(node.dtype()) else tf.cast(x, tf.float64)
    limit, bias = _attr(node, "lambd", wide), _attr(node, "bias", wide)
    result = tf.where(wide < -limit, wide + bias, tf.where(wide > limit, wide - bias, tf.zeros_like(wide)))
    return tf.cast(result, x.dtype)


@TABLE.rule("Softmax", since=13)
def softmax(node: Node, x: Any) -> Any:
    return softmax_of(x, node.axis())


NARROW = (tf.float16, tf.bfloat16)


def softmax_of(x: Any, axis: int = -1) -> Any:
    """Softmax; where there is no GPU, narrow types are rounded after every operator, as the standard's function body
    rounds them, and summed in float32."""
    if x.dtype not in NARROW or tf.config.list_physical_devices("GPU"):
        return tf.nn.softmax(x, axis=axis)
    powers = tf.exp(x - tf.reduce_max(unswapped(x), axis, keepdims=True))
    return powers / tf.cast(tf.reduce_sum(tf.cast(powers, tf.float32), axis, keepdims=True), powers.dtype)


@TABLE.rule("LogSoftmax", since=13)
def log_softmax(node: Node, x: Any) -> Any:
    return tf.nn.log_softmax(x, axis=node.axis())


@TABLE.rule("Hardmax", since=13)
def hardmax(node: Node, x: Any) -> Any:
    axis = node.axis()
    return tf.one_hot(tf.argmax(unswapped(x), axis), tf.shape(x)[axis], axis=axis, dtype=x.dtype)
