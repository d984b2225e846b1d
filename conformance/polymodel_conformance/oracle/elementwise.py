"""Operators that work element by element. Convention at kinks: the derivative of the left or flat side, relu'(0) = 0."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from polymodel.plan import Node
from polymodel_conformance.oracle import primitives as p
from polymodel_conformance.oracle.curves import CURVES
from polymodel_conformance.oracle.table import ORACLE
from polymodel_conformance.oracle.tape import Array, Value


@ORACLE.rule("Add", since=1)
def _add(node: Node, a: Value, b: Value) -> Value:
    return p.add(a, b)


@ORACLE.rule("Sub", since=1)
def _sub(node: Node, a: Value, b: Value) -> Value:
    return p.sub(a, b)


@ORACLE.rule("Mul", since=1)
def _mul(node: Node, a: Value, b: Value) -> Value:
    return p.mul(a, b)


@ORACLE.rule("Div", since=1)
def _div(node: Node, a: Value, b: Value) -> Value:
    if a.is_float:
        return p.div(a, b)
    quotient = np.abs(a.array) // np.abs(b.array) * np.sign(a.array) * np.sign(b.array)
    return a.tape.value(quotient.astype(a.array.dtype))


@ORACLE.rule("Pow", since=1)
def _pow(node: Node, a: Value, b: Value) -> Value:
    if a.is_float:
        exponent = b if b.is_float else a.tape.value(b.array.astype(np.float64))
        return p.power(a, exponent)
    return a.tape.value(np.power(a.array, b.array).astype(a.array.dtype))


@ORACLE.rule("Neg", since=1)
def _neg(node: Node, x: Value) -> Value:
    return p.neg(x)


@ORACLE.rule("Identity", since=1)
def _identity(node: Node, x: Value) -> Value:
    return x.tape.push(x.array, (x,), lambda g: [g])


@ORACLE.rule(*CURVES, since=1)
def _curve(node: Node, x: Value) -> Value:
    f, df, ulps = CURVES[node.op_type]
    return p.unary(x, f, df, ulps)


@ORACLE.rule("Sum", since=1)
def _sum(node: Node, *xs: Value) -> Value:
    total = xs[0]
    for x in xs[1:]:
        total = p.add(total, x)
    return total


@ORACLE.rule("Mean", since=1)
def _mean(node: Node, *xs: Value) -> Value:
    return p.div(_sum(node, *xs), float(len(xs)))


def _sided(mask: Array, a: Value | float, b: Value | float, like: Value) -> Value:
    return p.where(mask, p.lift(like.tape, a), p.lift(like.tape, b))


@ORACLE.rule("Relu", since=1)
def _relu(node: Node, x: Value) -> Value:
    if not x.is_float:
        return x.tape.value(np.maximum(x.array, 0))
    return _sided(p.step(x) | np.isnan(x.array), x, 0.0, x)


@ORACLE.rule("LeakyRelu", since=1)
def _leaky(node: Node, x: Value) -> Value:
    return _sided(p.step(x), x, p.mul(x, node.attr("alpha")), x)


@ORACLE.rule("PRelu", since=1)
def _prelu(node: Node, x: Value, slope: Value) -> Value:
    if not x.is_float:
        return x.tape.value(np.where(x.array < 0, x.array * slope.array, x.array))
    return _sided(p.step(x), x, p.mul(x, slope), x)


@ORACLE.rule("ThresholdedRelu", since=1)
def _thresholded(node: Node, x: Value) -> Value:
    return _sided(p.step(x, node.attr("alpha")), x, 0.0, x)


@ORACLE.rule("Shrink", since=1)
def _shrink(node: Node, x: Value) -> Value:
    if not x.is_float:
        x = x.tape.value(x.array.astype(np.float64))
    bias, lambd = node.attr("bias"), node.attr("lambd")
    high, low = p.step(x, lambd), p.step(p.neg(x), lambd)
    return _sided(high, p.sub(x, bias), _sided(low, p.add(x, bias), 0.0, x), x)


@ORACLE.rule("Abs", since=1)
def _abs(node: Node, x: Value) -> Value:
    if not x.is_float:
        return x.tape.value(np.abs(x.array))
    p.step(x)
    return p.unary(x, np.abs, lambda v, y: np.sign(v), 0)


@ORACLE.rule("Sign", "Floor", "Ceil", "Round", since=1)
def _staircase(node: Node, x: Value) -> Value:
    f: Any = {"Sign": np.sign, "Floor": np.floor, "Ceil": np.ceil, "Round": np.round}[node.op_type]
    if not x.is_float:
        return x.tape.value(f(x.array).astype(x.array.dtype))
    shifted = x.array - 0.5 if node.op_type == "Round" else x.array
    x.tape.kinks.decide(np.abs(x.array) if node.op_type == "Sign" else np.abs(shifted - np.round(shifted)))
    return p.unary(x, f, lambda v, y: np.zeros_like(v), 0)


@ORACLE.rule("Mod", since=1)
def _mod(node: Node, a: Value, b: Value) -> Value:
    with np.errstate(all="ignore"):
        y = np.fmod(a.array, b.array) if node.attr("fmod") else np.mod(a.array, b.array)
    if not a.is_float:
        return a.tape.value(y.astype(a.array.dtype))
    ratio = a.array / b.array
    a.tape.kinks.decide(np.abs(ratio - np.round(ratio)))
    whole = np.trunc(ratio) if node.attr("fmod") else np.floor(ratio)
    t = a.tape
    return t.push(t.rounded(y), (a, b), lambda g: [p.unbroadcast(t, g, a.shape), p.unbroadcast(t, -g * whole, b.shape)])


@ORACLE.rule("Min", "Max", since=1)
def _extreme(node: Node, *xs: Value) -> Value:
    best = xs[0]
    for x in xs[1:]:
        if not best.is_float:
            f = np.maximum if node.op_type == "Max" else np.minimum
            best = x.tape.value(f(best.array, x.array))
            continue
        with np.errstate(invalid="ignore"):
            gap = best.array - x.array if node.op_type == "Max" else x.array - best.array
        first = ((gap >= 0) ^ x.tape.kinks.decide(np.abs(gap), gap >= 0)) | np.isnan(best.array)
        best = p.where(first, best, x)
    return best


@ORACLE.rule("Clip", since=1)
def _clip(node: Node, x: Value, low: Value | None = None, high: Value | None = None) -> Value:
    bounds = [b if b is not None else None for b in (low, high)]
    if node.version < 11:
        bounds = [x.tape.value(np.float64(node.attr(n))) for n in ("min", "max")]
    if not x.is_float:
        y = x.array if bounds[0] is None else np.maximum(x.array, bounds[0].array)
        return x.tape.value(y if bounds[1] is None else np.minimum(y, bounds[1].array))
    if bounds[0] is not None:
        below = x.array < bounds[0].array
        x = p.where(below ^ x.tape.kinks.decide(np.abs(x.array - bounds[0].array), below), bounds[0], x)
    if bounds[1] is not None:
        above = x.array > bounds[1].array
        x = p.where(above ^ x.tape.kinks.decide(np.abs(x.array - bounds[1].array), above), bounds[1], x)
    return x


@ORACLE.rule("Elu", since=1)
def _elu(node: Node, x: Value) -> Value:
    return _elu_of(x, node.attr("alpha"))


def _elu_of(x: Value, alpha: float, rate: float = 1.0) -> Value:
    low = p.where(x.array > 0, 0.0, x)
    decay = p.unary(p.mul(low, rate), np.expm1, lambda v, y: np.exp(v), 4)
    return _sided(p.step(x), x, p.mul(decay, alpha), x)


@ORACLE.rule("Selu", since=1)
def _selu(node: Node, x: Value) -> Value:
    return p.mul(_elu_of(x, node.attr("alpha")), node.attr("gamma"))


@ORACLE.rule("Celu", since=1)
def _celu(node: Node, x: Value) -> Value:
    alpha = node.attr("alpha")
    return _elu_of(x, alpha, 1.0 / alpha)


def _hard_sigmoid(x: Value, alpha: float, beta: float) -> Value:
    line = p.add(p.mul(x, alpha), beta)
    return _sided(p.step(p.neg(line), -1.0) & p.step(line), line, _sided(line.array >= 1, 1.0, 0.0, x), x)


@ORACLE.rule("HardSigmoid", since=1)
def _hardsigmoid(node: Node, x: Value) -> Value:
    return _hard_sigmoid(x, node.attr("alpha"), node.attr("beta"))


@ORACLE.rule("HardSwish", since=1)
def _hardswish(node: Node, x: Value) -> Value:
    return p.mul(x, _hard_sigmoid(x, 1 / 6, 0.5))


@ORACLE.rule("Softsign", since=1)
def _softsign(node: Node, x: Value) -> Value:
    return p.unary(x, lambda v: v / (1 + np.abs(v)), lambda v, y: 1 / (1 + np.abs(v)) ** 2, 3)


@ORACLE.rule("Gelu", since=20)
def _gelu(node: Node, x: Value) -> Value:
    if node.attr("approximate") == "tanh":
        inner = p.mul(p.add(x, p.mul(p.mul(p.mul(x, x), x), 0.044715)), math.sqrt(2 / math.pi))
        f, df, ulps = CURVES["Tanh"]
    else:
        inner = p.mul(x, math.sqrt(0.5))
        f, df, ulps = CURVES["Erf"]
    return p.mul(p.mul(x, 0.5), p.add(p.unary(inner, f, df, ulps), 1.0))


@ORACLE.rule("Mish", since=18)
def _mish(node: Node, x: Value) -> Value:
    soft = p.unary(x, *CURVES["Softplus"])
    return p.mul(x, p.unary(soft, *CURVES["Tanh"]))


@ORACLE.rule("Swish", since=24)
def _swish(node: Node, x: Value) -> Value:
    return p.mul(x, p.unary(p.mul(x, node.attr("alpha")), *CURVES["Sigmoid"]))


@ORACLE.rule("Cast", since=1)
def _cast(node: Node, x: Value) -> Value:
    return cast(x, node.outputs[0].dtype)


@ORACLE.rule("CastLike", since=1)
def _castlike(node: Node, x: Value, like: Value) -> Value:
    return cast(x, node.outputs[0].dtype)


def cast(x: Value, dtype: str) -> Value:
    """Another element type; floats are held in float64, and the rounding to a narrower one is part of the floor."""
    if dtype in ("float16", "bfloat16") and x.is_float:
        return x.tape.push(x.tape.rounded(x.array), (x,), lambda g: [g])
    if dtype in ("float32", "float64", "float16", "bfloat16"):
        if x.is_float:
            return x.tape.push(x.array, (x,), lambda g: [g])
        return x.tape.value(x.array.astype(np.float64))
    with np.errstate(invalid="ignore"):
        if x.is_float:
            x.tape.kinks.decide(_to_a_jump(x.array, dtype))
        return x.tape.value(x.array.astype(dtype))


def _to_a_jump(x: Array, dtype: str) -> Array:
    """How far a number is from where its cast changes: 0 for truths, every other whole number for integers."""
    if dtype == "bool":
        return np.asarray(np.abs(x))
    whole = np.round(x)
    return np.where(whole == 0, 1.0 - np.abs(x), np.abs(x - whole))


@ORACLE.rule("Range", since=11)
def _range(node: Node, start: Value, limit: Value, delta: Value) -> Value:
    if not start.is_float:
        first, last, pace = (v.array.reshape(()) for v in (start, limit, delta))
        return start.tape.value(np.arange(first, last, pace, dtype=start.array.dtype))
    count = float((limit.array - start.array) / delta.array)
    start.tape.kinks.decide(np.asarray(abs(count - round(count))))
    steps = np.arange(max(0, math.ceil(count)), dtype=np.float64)
    return p.add(start, p.mul(delta, steps))


@ORACLE.rule("Where", since=1)
def _where(node: Node, mask: Value, a: Value, b: Value) -> Value:
    if a.is_float:
        return p.where(mask.array, a, b)
    return a.tape.value(np.where(mask.array, a.array, b.array))


@ORACLE.rule("Dropout", since=1)
def _dropout(node: Node, x: Value, *_: Value | None) -> tuple[Value, Value]:
    if len(_) > 1 and _[1] is not None and bool(_[1].array):
        raise NotImplementedError("Dropout in training draws numbers of its own")
    return x.tape.push(x.array, (x,), lambda g: [g]), x.tape.value(np.ones(x.shape, bool))
