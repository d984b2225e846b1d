"""Reductions, softmax and scans."""

from __future__ import annotations

from typing import Any

import numpy as np

from polymodel.plan import Node
from polymodel_conformance.oracle import primitives as p
from polymodel_conformance.oracle.curves import CURVES
from polymodel_conformance.oracle.table import ORACLE
from polymodel_conformance.oracle.tape import Array, Value


def axes_of(node: Node, x: Value, axes: Value | None) -> tuple[int, ...]:
    """The axes that a Reduce* call reduces."""
    given = node.attr("axes") if "axes" in node.attributes else None
    found = tuple(int(a) for a in axes.array) if axes is not None else given
    if not found:
        return () if node.attr("noop_with_empty_axes") else tuple(range(x.ndim))
    return tuple(sorted(int(a) % x.ndim for a in found))


def _square(x: Value) -> Value:
    return p.mul(x, x)


def _log(x: Value) -> Value:
    return p.unary(x, *CURVES["Log"])


def _exp(x: Value) -> Value:
    return p.unary(x, *CURVES["Exp"])


def absolute(x: Value) -> Value:
    """|x| with derivative sign(x)."""
    p.step(x)
    return p.unary(x, np.abs, lambda v, y: np.sign(v), 0)


def log_sum_exp(x: Value, axes: tuple[int, ...], keepdims: bool) -> Value:
    """log(sum(exp(x))) with the maximum taken out."""
    if x.array.size == 0:
        return _log(p.total(_exp(x), axes, keepdims))
    top = np.max(x.array, axis=axes, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    inner = _log(p.total(_exp(p.sub(x, top)), axes, keepdims))
    return p.add(inner, top if keepdims else top.reshape(inner.shape))


@ORACLE.rule(*["ReduceSum", "ReduceMean", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"], since=1)
def _reduce(node: Node, x: Value, axes: Value | None = None) -> Value:
    over, keep = axes_of(node, x, axes), bool(node.attr("keepdims"))
    if not x.is_float:
        return x.tape.value(_integers(node.op_type, x.array, over, keep))
    match node.op_type:
        case "ReduceSum":
            return p.total(x, over, keep)
        case "ReduceMean":
            return p.mean(x, over, keep)
        case "ReduceL1":
            return p.total(absolute(x), over, keep)
        case "ReduceL2":
            return p.unary(p.total(_square(x), over, keep), *CURVES["Sqrt"])
        case "ReduceSumSquare":
            return p.total(_square(x), over, keep)
        case "ReduceLogSum":
            return _log(p.total(x, over, keep))
        case _:
            return log_sum_exp(x, over, keep)


def _integers(op_type: str, x: Array, over: tuple[int, ...], keep: bool) -> Array:
    wide = x.astype(np.int64)
    match op_type:
        case "ReduceSum":
            y = wide.sum(axis=over, keepdims=keep)
        case "ReduceL1":
            y = np.abs(wide).sum(axis=over, keepdims=keep)
        case "ReduceSumSquare":
            y = (wide * wide).sum(axis=over, keepdims=keep)
        case _:
            raise NotImplementedError(f"{op_type} of integers")
    return np.asarray(y).astype(x.dtype)


@ORACLE.rule("ReduceMax", "ReduceMin", since=1)
def _extreme(node: Node, x: Value, axes: Value | None = None) -> Value:
    over, keep = axes_of(node, x, axes), bool(node.attr("keepdims"))
    sign = 1 if node.op_type == "ReduceMax" else -1
    if not over:
        return x
    if not x.is_float or x.array.size == 0:
        f = np.max if sign > 0 else np.min
        if x.array.size == 0:
            nothing = -sign * np.inf if x.is_float else _least(x.array.dtype, sign)
            return x.tape.value(f(x.array, axis=over, keepdims=keep, initial=nothing))
        return x.tape.value(np.asarray(f(x.array, axis=over, keepdims=keep)))
    rest = [i for i in range(x.ndim) if i not in over]
    flat = p.reshape(p.transpose(x, (*rest, *over)), (*(x.shape[i] for i in rest), int(np.prod([x.shape[i] for i in over]))))
    y = p.largest(flat if sign > 0 else p.neg(flat), -1)[0]
    y = y if sign > 0 else p.neg(y)
    return p.reshape(y, [1 if i in over else n for i, n in enumerate(x.shape)]) if keep else y


def _least(dtype: np.dtype[Any], sign: int) -> Any:
    """The maximum (or, with sign -1, minimum) of nothing."""
    if dtype.kind == "b":
        return sign < 0
    return np.iinfo(dtype).min if sign > 0 else np.iinfo(dtype).max


@ORACLE.rule("ReduceProd", since=1)
def _prod(node: Node, x: Value, axes: Value | None = None) -> Value:
    over, keep = axes_of(node, x, axes), bool(node.attr("keepdims"))
    if not x.is_float:
        return x.tape.value(np.asarray(np.prod(x.array, axis=over, keepdims=keep)).astype(x.array.dtype))
    y = np.asarray(x.array.prod(axis=over, keepdims=keep))
    t, kept = x.tape, tuple(1 if i in over else n for i, n in enumerate(x.shape))
    count = max(1, int(np.prod([x.shape[a] for a in over])))

    def vjp(g: Array) -> list[Array]:
        rest = [i for i in range(x.ndim) if i not in over]
        flat = x.array.transpose((*rest, *over)).reshape((*(x.shape[i] for i in rest), int(np.prod([x.shape[a] for a in over]))))
        others = np.empty_like(flat)
        for i in range(flat.shape[-1]):
            others[..., i] = np.delete(flat, i, -1).prod(-1)
        back = others.reshape([x.shape[i] for i in (*rest, *over)]).transpose(np.argsort((*rest, *over)))
        return [t.rounded(g.reshape(kept) * back, count)]

    return t.push(t.rounded(y, count), (x,), vjp)


@ORACLE.rule("Softmax", since=13)
def _softmax(node: Node, x: Value) -> Value:
    return softmax(x, node.axis())


def softmax(x: Value, axis: int) -> Value:
    """exp(x - max) / sum; a row of -inf only gives NaN, as the standard's function body does."""
    top = np.max(x.array, axis=axis, keepdims=True) if x.array.size else np.zeros(1)
    with np.errstate(invalid="ignore"):
        e = _exp(p.sub(x, top))
    return p.div(e, p.total(e, (axis,), True))


@ORACLE.rule("LogSoftmax", since=13)
def _log_softmax(node: Node, x: Value) -> Value:
    return log_softmax(x, node.axis())


def log_softmax(x: Value, axis: int) -> Value:
    """x - max - log(sum(exp(x - max)))."""
    top = np.max(x.array, axis=axis, keepdims=True) if x.array.size else np.zeros(1)
    shifted = p.sub(x, top)
    return p.sub(shifted, _log(p.total(_exp(shifted), (axis,), True)))


@ORACLE.rule("Hardmax", since=1)
def _hardmax(node: Node, x: Value) -> Value:
    axis = node.axis()
    if x.array.size == 0:
        return x
    first = np.expand_dims(p.largest(x, axis)[1], axis)
    y = np.zeros(x.shape)
    np.put_along_axis(y, first, 1.0, axis)
    return x.tape.push(y, (x,), lambda g: [np.zeros(x.shape)])


@ORACLE.rule("CumSum", since=11)
def _cumsum(node: Node, x: Value, axis: Value) -> Value:
    along, t = int(axis.array) % x.ndim, x.tape
    exclusive, reverse = node.attr("exclusive"), node.attr("reverse")
    n = x.shape[along]
    matrix = np.tril(np.ones((n, n)), -1 if exclusive else 0)
    matrix = matrix.T if reverse else matrix
    if not x.is_float:
        y = np.moveaxis(np.tensordot(matrix.astype(x.array.dtype), x.array, (1, along)), 0, along)
        return t.value(y.astype(x.array.dtype))
    back = list(range(x.ndim))
    back[along], back[-1] = back[-1], back[along]
    return p.transpose(p.matmul(p.transpose(x, back), t.value(matrix.T)), back)


@ORACLE.rule("CumProd", since=26)
def _cumprod(node: Node, x: Value, axis: Value) -> Value:
    along, exclusive, reverse = int(axis.array.reshape(())) % x.ndim, node.attr("exclusive"), node.attr("reverse")
    if not x.is_float:
        return x.tape.value(_integer_products(x.array, along, exclusive, reverse))
    places = range(x.shape[along])
    kept: dict[int, Value] = {}
    product: Value | None = None
    for i in reversed(places) if reverse else places:
        item = p.pick(x, (*(slice(None),) * along, slice(i, i + 1)))
        before, product = product, item if product is None else p.mul(product, item)
        one = x.tape.value(np.ones(item.shape))
        kept[i] = (one if before is None else before) if exclusive else product
    return p.concat([kept[i] for i in places], along) if kept else x


def _integer_products(x: Array, axis: int, exclusive: int, reverse: int) -> Array:
    x = np.flip(x, axis) if reverse else x
    if exclusive:
        ones = np.ones_like(np.take(x, [0], axis))
        x = np.concatenate([ones, np.take(x, range(x.shape[axis] - 1), axis)], axis)
    y = np.cumprod(x, axis, dtype=x.dtype)
    return np.flip(y, axis) if reverse else y


@ORACLE.rule("TopK", since=1)
def _topk(node: Node, x: Value, k: Value) -> tuple[Value, Value]:
    axis, count = node.axis(), int(k.array.reshape(()))
    descending = -x.array if x.is_float else np.invert(x.array)
    keys = descending if node.attributes.get("largest", 1) else x.array
    order = np.argsort(keys, axis, kind="stable")
    if x.shape[axis] > 1 and x.is_float:
        ranked = np.take_along_axis(keys, order, axis)
        x.tape.kinks.decide(np.diff(ranked, axis=axis))
    index = np.take(order, np.arange(count), axis)
    flat = np.take_along_axis(np.arange(x.array.size).reshape(x.shape), index, axis)
    values = p.take(x, flat) if x.is_float else x.tape.value(np.take_along_axis(x.array, index, axis))
    return values, x.tape.value(index.astype(np.int64))
