"""Exact arithmetic of integers where MXNet's kernels go by way of float64, which int64 does not fit into."""

from __future__ import annotations

import math

import numpy as np

from polymodel.plan import Node
from polymodel_mxnet.symbols import Symbol, broadcast, cast, constant, op, reshape

_MOST = 1 << 22  # elements of the products that one sum is taken of


def truncated_quotient(a: Symbol, b: Symbol, dtype: str) -> Symbol:
    """Integer quotient rounded toward zero; for int64 the float64 quotient is corrected by exact remainders."""

    def rough(x: Symbol) -> Symbol:
        return cast(op("trunc", op("_npi_true_divide", cast(x, "float64"), cast(b, "float64"))), dtype)

    quotient = rough(a)
    if dtype != "int64":
        return quotient
    quotient = quotient + rough(a - quotient * b)
    sign = op("_npi_sign", a)
    wrong = cast(((a - quotient * b) * sign) < 0, dtype)
    return quotient - wrong * sign * op("_npi_sign", b)


def integer_power(a: Symbol, b: Symbol, node: Node) -> Symbol:
    """Powers by squaring, one step for each bit of the exponent; a negative exponent leaves 1, -1 or 0."""
    kind, exponent, shape = node.dtype(0), node.dtype(1), node.out_shape()
    known = node.const(1) if node.is_const(1) else None
    bits = int(known.max()).bit_length() if known is not None and known.size else np.dtype(exponent).itemsize * 8 - 1
    a, b = broadcast(a, shape), broadcast(b, shape)
    one, zero = constant(np.ones((), kind)), constant(np.zeros((), kind))
    result, square = op("_npi_add", a * 0, one), a
    for i in range(max(bits, 1)):
        if i:
            square = op("_npi_multiply", square, square)
        chosen = op("_npi_bitwise_and", b, constant(np.array(1 << i, exponent))) != 0
        result = op("_npi_where", chosen, op("_npi_multiply", result, square), result)
    if exponent == "uint8" or (known is not None and known.size and known.min() >= 0):
        return result
    vanishing = op("_npi_multiply", b < 0, op("_npi_multiply", a, a) != 1)
    return op("_npi_where", vanishing, zero, result)


def integer_product(a: Symbol, b: Symbol, left: tuple[int, ...], right: tuple[int, ...]) -> Symbol | None:
    """Matrix product as sums of elementwise products, around the circle; None where those would be too many."""
    out = (*np.broadcast_shapes(left[:-2], right[:-2]), left[-2], right[-1])
    if math.prod(out) * left[-1] > _MOST or len(out) > 4:
        return None
    columns = reshape(a, (*left, 1))
    rows = reshape(b, (*right[:-2], 1, *right[-2:]))
    return op("_np_sum", op("_npi_multiply", columns, rows), axis=(len(out) - 1,))
