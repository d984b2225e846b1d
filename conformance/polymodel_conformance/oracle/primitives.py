"""The differentiable primitives that all operators of the oracle are written with.

Each takes Values (or arrays and numbers, which are constants) and returns a Value; each states its derivative beside its
value. At a tie or kink the derivative is that of the side written in the docstring.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from polymodel_conformance.oracle.tape import Array, Tape, Value

Operand: TypeAlias = "Value | Array | float | int"


def tape_of(*operands: Operand) -> Tape:
    """The tape that the operands are on."""
    return next(o.tape for o in operands if isinstance(o, Value))


def lift(tape: Tape, operand: Operand) -> Value:
    """A constant as a value."""
    return operand if isinstance(operand, Value) else tape.value(operand)


def summed(tape: Tape, array: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """Sum with the errors of its partial sums."""
    total: Array = np.asarray(array.sum(axis=axes, keepdims=keepdims))
    if tape.noise is None or array.size == 0:
        return total
    count = int(np.prod([array.shape[a] for a in axes], dtype=np.int64))
    squares = np.square(array).sum(axis=axes, keepdims=keepdims)
    return tape.noise.reduced(total, squares, count)


def unbroadcast(tape: Tape, g: Array, shape: tuple[int, ...]) -> Array:
    """The adjoint of broadcasting."""
    if g.shape == shape:
        return g
    lead = g.ndim - len(shape)
    axes = (*range(lead), *(lead + i for i, n in enumerate(shape) if n == 1 and g.shape[lead + i] != 1))
    return summed(tape, g, axes, True).reshape(shape) if axes else g.reshape(shape)


def product(tape: Tape, a: Array, b: Array) -> Array:
    """Matrix product with the errors of its partial sums; the sum of squares of the terms is taken as
    |row|^2 |column|^2 / n, its mean over the order of the terms."""
    y: Array = np.matmul(a, b)
    if tape.noise is None or y.size == 0:
        return y
    n = a.shape[-1]
    rows = np.square(a).sum(-1)
    columns = np.square(b).sum(-2) if b.ndim > 1 else np.square(b).sum(-1)
    squares = (rows[..., :, None] * columns[..., None, :] if b.ndim > 1 else rows * columns) / max(n, 1)
    return tape.rounded(tape.noise.reduced(y, squares, n))


# -- elementwise ------------------------------------------------------------------------------------------------------


def unary(x: Value, f: Callable[[Array], Array], df: Callable[[Array, Array], Array], ulps: float = 1.0) -> Value:
    """y = f(x) with derivative df(x, y)."""
    t = x.tape
    with np.errstate(all="ignore"):
        y = t.rounded(f(x.array), ulps)

    def vjp(g: Array) -> list[Array]:
        with np.errstate(all="ignore"):
            return [t.rounded(np.where(g == 0, 0.0, g * df(x.array, y)), ulps)]

    return t.push(y, (x,), vjp)


def add(a: Operand, b: Operand) -> Value:
    """a + b."""
    t = tape_of(a, b)
    x, y = lift(t, a), lift(t, b)
    return t.push(
        t.rounded(x.array + y.array), (x, y), lambda g: [unbroadcast(t, g, x.shape), unbroadcast(t, g, y.shape)]
    )


def sub(a: Operand, b: Operand) -> Value:
    """a - b."""
    t = tape_of(a, b)
    x, y = lift(t, a), lift(t, b)
    return t.push(
        t.rounded(x.array - y.array), (x, y), lambda g: [unbroadcast(t, g, x.shape), unbroadcast(t, -g, y.shape)]
    )


def mul(a: Operand, b: Operand) -> Value:
    """a * b."""
    t = tape_of(a, b)
    x, y = lift(t, a), lift(t, b)
    return t.push(
        t.rounded(x.array * y.array),
        (x, y),
        lambda g: [
            unbroadcast(t, t.rounded(g * y.array), x.shape) if isinstance(a, Value) else None,
            unbroadcast(t, t.rounded(g * x.array), y.shape) if isinstance(b, Value) else None,
        ],
    )


def div(a: Operand, b: Operand) -> Value:
    """a / b."""
    t = tape_of(a, b)
    x, y = lift(t, a), lift(t, b)
    with np.errstate(all="ignore"):
        q = x.array / y.array
    return t.push(
        t.rounded(q),
        (x, y),
        lambda g: [
            unbroadcast(t, t.rounded(g / y.array), x.shape),
            unbroadcast(t, t.rounded(-g * q / y.array), y.shape) if isinstance(b, Value) else None,
        ],
    )


def power(a: Operand, b: Operand) -> Value:
    """a ** b; the derivative with respect to b is 0 where a is 0."""
    t = tape_of(a, b)
    x, y = lift(t, a), lift(t, b)
    with np.errstate(all="ignore"):
        z = np.power(x.array, y.array)

    def vjp(g: Array) -> list[Array | None]:
        with np.errstate(all="ignore"):
            dx = np.where(y.array == 0, 0.0, g * y.array * np.power(x.array, y.array - 1))
            dy = np.where(x.array == 0, 0.0, g * z * np.log(np.where(x.array == 0, 1.0, x.array)))
        return [unbroadcast(t, t.rounded(dx, 4), x.shape), unbroadcast(t, t.rounded(dy, 4), y.shape)]

    return t.push(t.rounded(z, 4), (x, y), vjp)


def neg(x: Value) -> Value:
    """-x, exact."""
    return x.tape.push(-x.array, (x,), lambda g: [-g])


def step(x: Value, at: float = 0.0) -> Array:
    """x > at as a decision: recorded as a kink, and turned where the run asks for it."""
    above = x.array > at
    decided: Array = above ^ x.tape.kinks.decide(np.abs(x.array - at), above)
    return decided


def where(mask: Array, a: Operand, b: Operand) -> Value:
    """a where the mask is true, else b; exact."""
    t = tape_of(a, b)
    x, y = lift(t, a), lift(t, b)
    return t.push(
        np.where(mask, x.array, y.array),
        (x, y),
        lambda g: [
            unbroadcast(t, np.where(mask, g, 0.0), x.shape),
            unbroadcast(t, np.where(mask, 0.0, g), y.shape),
        ],
    )


def stop(x: Value) -> Value:
    """The same array, through which nothing flows back."""
    return Value(x.array, x.tape)


# -- reductions and products -------------------------------------------------------------------------------------------


def total(x: Value, axes: Sequence[int] | None = None, keepdims: bool = False) -> Value:
    """Sum over axes (all when None)."""
    t = x.tape
    over = tuple(range(x.ndim)) if axes is None else tuple(a % x.ndim for a in axes)
    kept = tuple(1 if i in over else n for i, n in enumerate(x.shape))
    return t.push(
        t.rounded(summed(t, x.array, over, keepdims)), (x,), lambda g: [np.broadcast_to(g.reshape(kept), x.shape)]
    )


def mean(x: Value, axes: Sequence[int] | None = None, keepdims: bool = False) -> Value:
    """Mean over axes (all when None)."""
    over = range(x.ndim) if axes is None else axes
    count = int(np.prod([x.shape[a] for a in over], dtype=np.int64))
    return div(total(x, axes, keepdims), float(count))


def largest(x: Value, axis: int, keepdims: bool = False) -> tuple[Value, Array]:
    """Maximum along one axis and where it is (the first of equals); all of the gradient goes there."""
    t, axis = x.tape, axis % x.ndim
    data = x.array
    first = np.argmax(data, axis)
    if data.shape[axis] > 1:
        masked = data.copy()
        np.put_along_axis(masked, np.expand_dims(first, axis), -np.inf, axis)
        second = np.argmax(masked, axis)
        top = np.take_along_axis(data, np.expand_dims(first, axis), axis)
        with np.errstate(invalid="ignore"):
            gap = top - np.take_along_axis(masked, np.expand_dims(second, axis), axis)
        first = np.where(t.kinks.decide(gap.squeeze(axis), first), second, first)
    index = np.expand_dims(first, axis)
    y = np.take_along_axis(data, index, axis)

    def vjp(g: Array) -> list[Array]:
        out = np.zeros(data.shape)
        np.put_along_axis(out, index, g if keepdims else np.expand_dims(g, axis), axis)
        return [out]

    return t.push(y if keepdims else y.squeeze(axis), (x,), vjp), first


def matmul(a: Operand, b: Operand) -> Value:
    """Matrix product with NumPy's broadcasting of leading axes; both operands have at least one axis."""
    t = tape_of(a, b)
    x, y = lift(t, a), lift(t, b)
    if y.ndim == 1:
        return squeeze(matmul(x, expand_dims(y, 1)), -1)
    if x.ndim == 1:
        return squeeze(matmul(expand_dims(x, 0), y), -2)

    def vjp(g: Array) -> list[Array]:
        if x.ndim > 2 and y.ndim == 2:
            rows = math.prod(x.shape[:-1])
            flat = product(t, x.array.reshape(rows, x.shape[-1]).T, g.reshape(rows, g.shape[-1]))
            return [product(t, g, y.array.T), flat]
        left = product(t, g, np.swapaxes(y.array, -1, -2))
        right = product(t, np.swapaxes(x.array, -1, -2), g)
        return [unbroadcast(t, left, x.shape), unbroadcast(t, right, y.shape)]

    return t.push(product(t, x.array, y.array), (x, y), vjp)


# -- moves, all exact --------------------------------------------------------------------------------------------------


def reshape(x: Value, shape: Sequence[int]) -> Value:
    """Another shape of the same elements."""
    return x.tape.push(x.array.reshape(tuple(shape)), (x,), lambda g: [g.reshape(x.shape)])


def expand_dims(x: Value, axis: int) -> Value:
    """A new axis of size 1."""
    return reshape(x, np.expand_dims(x.array, axis).shape)


def squeeze(x: Value, axis: int) -> Value:
    """Drop an axis of size 1."""
    return reshape(x, np.squeeze(x.array, axis).shape)


def transpose(x: Value, axes: Sequence[int]) -> Value:
    """Axes in another order."""
    back = np.argsort(axes)
    return x.tape.push(x.array.transpose(axes), (x,), lambda g: [g.transpose(back)])


def swap(x: Value, a: int, b: int) -> Value:
    """Two axes exchanged."""
    return x.tape.push(np.swapaxes(x.array, a, b), (x,), lambda g: [np.swapaxes(g, a, b)])


def broadcast(x: Value, shape: Sequence[int]) -> Value:
    """NumPy broadcasting to a shape."""
    t = x.tape
    full = np.broadcast_shapes(x.shape, tuple(shape))
    return t.push(np.broadcast_to(x.array, full), (x,), lambda g: [unbroadcast(t, g, x.shape)])


def take(x: Value, index: Array) -> Value:
    """Elements of the flattened array at flat positions; repeated positions add up in the gradient, -1 reads as 0."""
    t = x.tape
    valid = index >= 0
    flat = x.array.reshape(-1)
    y = np.where(valid, flat[np.where(valid, index, 0)], flat.dtype.type(0)) if flat.size else np.zeros(index.shape)

    def vjp(g: Array) -> list[Array]:
        if not flat.size or not index.size:
            return [np.zeros(x.shape)]
        out = np.bincount(index[valid].ravel(), g[valid].ravel(), minlength=flat.size).astype(np.float64)
        if t.noise is not None:
            squares = np.bincount(index[valid].ravel(), np.square(g[valid]).ravel(), minlength=flat.size)
            counts = np.bincount(index[valid].ravel(), minlength=flat.size)
            out = np.where(counts > 1, t.noise.reduced(out, squares, max(2, int(counts.max()))), out)
        return [out.reshape(x.shape)]

    return t.push(y, (x,), vjp)


def gathered_sum(x: Value, target: Array, size: int) -> Value:
    """Every element added to a position of a vector of zeros: the adjoint of `take`."""
    t, order = x.tape, target.reshape(-1)
    y = np.bincount(order, x.array.reshape(-1), minlength=size).astype(np.float64)
    if t.noise is not None and order.size:
        squares = np.bincount(order, np.square(x.array).reshape(-1), minlength=size)
        counts = np.bincount(order, minlength=size)
        y = np.where(counts > 1, t.noise.reduced(y, squares, max(2, int(counts.max()))), y)
    return t.push(y, (x,), lambda g: [g[order].reshape(x.shape)])


def pick(x: Value, key: tuple[slice | int | Array | None, ...]) -> Value:
    """Basic indexing; every element is read at most once."""

    def vjp(g: Array) -> list[Array]:
        out = np.zeros(x.shape)
        out[key] = g
        return [out]

    return x.tape.push(x.array[key], (x,), vjp)


def concat(xs: Sequence[Value], axis: int) -> Value:
    """Arrays one after another along an axis."""
    sizes = np.cumsum([x.shape[axis] for x in xs])[:-1]
    return xs[0].tape.push(
        np.concatenate([x.array for x in xs], axis), tuple(xs), lambda g: list(np.split(g, sizes, axis))
    )


def stack(xs: Sequence[Value], axis: int = 0) -> Value:
    """Arrays along a new axis."""
    return concat([expand_dims(x, axis) for x in xs], axis)


def pad(x: Value, widths: Sequence[tuple[int, int]], fill: float = 0.0) -> Value:
    """A constant border."""
    inner = tuple(slice(lo, lo + n) for (lo, _), n in zip(widths, x.shape, strict=True))
    return x.tape.push(np.pad(x.array, widths, constant_values=fill), (x,), lambda g: [g[inner]])
