"""Floating-point types by arithmetic: rounding to one of them, and its bits.

Everything is computed in float64, of which all other types are subsets, with exact powers of two from tables, so that
any framework can do it. ("polymodel", "RoundTo") is what passes/carry_types.py calls: its output has the carrier's type
and holds only values of the type named by the attribute `to`. It has no derivative; see PassThrough there.
"""

from __future__ import annotations

import math

import numpy as np

from polymodel.bodies.table import BODIES, Body
from polymodel.passes.carriers import FLOATS, Float, width
from polymodel.plan import Node
from polymodel.spec import numpy_dtype

_E8M0 = "float8e8m0"


def _place(b: Body, size: str, least: int, most: int) -> tuple[str, str]:
    """floor(log2(size)) - least, between 0 and most - least, and 2 to the power floor(log2(size)); size is float64."""
    count = most - least + 1
    powers = b.constant(np.ldexp(1.0, np.arange(least, most + 1)))
    inside = b.call("Clip", size, b.constant(math.ldexp(1.0, least)), b.constant(math.ldexp(1.0, most)))
    rough = b.call("Floor", b.call("Mul", b.call("Log", inside), b.constant(1.0 / math.log(2.0))))
    index = _limited(b, b.call("Sub", b.cast(rough, "int64"), b.constant(least, "int64")), count)
    power = b.call("Gather", powers, index)
    above = b.cast(b.call("GreaterOrEqual", size, b.call("Mul", power, b.constant(2.0))), "int64")
    below = b.cast(b.call("Less", size, power), "int64")
    index = _limited(b, b.call("Sub", b.call("Add", index, above), below), count)
    return index, b.call("Gather", powers, index)


def _limited(b: Body, index: str, count: int) -> str:
    return b.call("Min", b.call("Max", index, b.constant(0, "int64")), b.constant(count - 1, "int64"))


def _unit(b: Body, index: str, kind: Float) -> str:
    """The spacing of the numbers that are next to one with that exponent."""
    exponents = np.arange(kind.least, kind.most + 1) - kind.mantissa
    return b.call("Gather", b.constant(np.ldexp(1.0, exponents)), index)


@BODIES.rule("RoundTo", since=1, domain="polymodel")
def round_to(b: Body, node: Node, x: str) -> str:
    """The nearest value of a type, ties to even; what is out of range is handled as Cast says."""
    to, saturate = str(node.attr("to")), bool(node.attr("saturate"))
    wide = b.cast(x, "float64")
    size = b.call("Abs", wide)
    if to == _E8M0:
        return b.cast(_power_of_two(b, size, saturate, str(node.attr("round_mode"))), node.outputs[0].dtype)
    kind = FLOATS[to]
    index, _ = _place(b, size, kind.least, kind.most)
    unit = _unit(b, index, kind)
    rounded = b.call("Mul", b.call("Round", b.call("Div", size, unit)), unit)
    beyond = kind.largest if saturate or not kind.has_nan else math.inf if kind.infinite else math.nan
    rounded = b.call("Where", b.call("Greater", rounded, b.constant(kind.largest)), b.constant(beyond), rounded)
    zero = b.constant(0.0)
    signed = b.call("Where", b.call("Less", wide, zero), b.call("Neg", rounded), rounded)
    nothing = b.call("Mul", wide, zero) if kind.negative_zero else zero
    signed = b.call("Where", b.call("Equal", rounded, zero), nothing, signed)
    return b.cast(signed, node.outputs[0].dtype)


def _power_of_two(b: Body, size: str, saturate: bool, mode: str) -> str:
    """float8e8m0: powers of two from 2^-127 to 2^127; a sign is dropped."""
    _, power = _place(b, size, -127, 127)
    if mode != "down":
        limit = b.call("Mul", power, b.constant(1.5)) if mode == "nearest" else power
        over = b.call("GreaterOrEqual" if mode == "nearest" else "Greater", size, limit)
        power = b.call("Where", over, b.call("Mul", power, b.constant(2.0)), power)
    high, nan = b.constant(math.ldexp(1.0, 127)), b.constant(math.nan)
    power = b.call("Where", b.call("Greater", power, high), high if saturate else nan, power)
    if not saturate:
        lost = b.call("Or", b.call("Equal", size, b.constant(0.0)), b.call("IsInf", b.cast(size, "float32")))
        power = b.call("Where", lost, nan, power)
    return b.call("Where", b.call("IsNaN", size), nan, power)


def float_bits(b: Body, x: str, dtype: str) -> str:
    """An int64 whose low bits are those of the values of a floating-point type, held in it or in a wider one.

    NaN has one pattern, the quiet one.
    """
    wide = b.cast(x, "float64")
    size = b.call("Abs", wide)
    if dtype == _E8M0:
        index, _ = _place(b, size, -127, 127)
        return b.call("Where", b.call("IsNaN", wide), b.constant(255, "int64"), index)
    kind = FLOATS[dtype]
    index, _ = _place(b, size, kind.least, kind.most)
    fraction = b.call("Div", b.call("Min", size, b.constant(kind.largest)), _unit(b, index, kind))
    bits = b.call("Add", b.call("Mul", index, b.constant(1 << kind.mantissa, "int64")), b.cast(fraction, "int64"))
    if kind.infinite:
        bits = b.call("Where", b.call("Greater", size, b.constant(kind.largest)), _pattern(b, math.inf, dtype), bits)
    zero = b.constant(0.0)
    negative = b.call("Or", b.call("Less", wide, zero), b.call("Less", b.call("Reciprocal", wide), zero))
    sign = b.constant(-(1 << 63) if kind.bits == 64 else 1 << (kind.bits - 1), "int64")
    bits = b.call("Where", negative, b.call("Add", bits, sign), bits)
    return b.call("Where", b.call("IsNaN", wide), _pattern(b, math.nan, dtype), bits) if kind.has_nan else bits


def _pattern(b: Body, value: float, dtype: str) -> str:
    stored = np.array([value], numpy_dtype(dtype))
    return b.constant(int(stored.view(f"u{stored.itemsize}")[0]), "int64")


def float_from_bits(b: Body, bits: str, dtype: str, held: str) -> str:
    """Values of a floating-point type, in the type `held`, from an int64 whose low bits are theirs."""
    count = width(dtype)
    if count <= 16:
        codes = np.arange(1 << count, dtype=np.uint8 if count <= 8 else np.uint16)
        values = codes.astype(np.uint8).view(numpy_dtype(dtype)) if count <= 8 else codes.view(numpy_dtype(dtype))
        index = b.call("BitwiseAnd", bits, b.constant((1 << count) - 1, "int64"))
        return b.call("Gather", b.constant(values.astype(numpy_dtype(held))), index)
    kind = FLOATS[dtype]
    sign = b.call("BitwiseAnd", bits, b.constant(-(1 << 63) if count == 64 else 1 << (count - 1), "int64"))
    negative = b.call("Not", b.call("Equal", sign, b.constant(0, "int64")))
    rest = b.call("BitwiseAnd", bits, b.constant((1 << (count - 1)) - 1, "int64"))
    fraction = b.call("BitwiseAnd", bits, b.constant((1 << kind.mantissa) - 1, "int64"))
    step = b.constant(1 << kind.mantissa, "int64")
    exponent = b.call("Div", b.call("Sub", rest, fraction), step)
    exponents = np.arange(1 << kind.exponent)
    units = np.ldexp(1.0, np.minimum(np.maximum(exponents, 1), exponents[-2]) - 1 + kind.least - kind.mantissa)
    normal = b.call("Greater", exponent, b.constant(0, "int64"))
    whole = b.call("Where", normal, b.call("Add", fraction, step), fraction)
    size = b.call("Mul", b.cast(whole, "float64"), b.call("Gather", b.constant(units), exponent))
    special = b.call("Equal", exponent, b.constant(int(exponents[-1]), "int64"))
    infinite = b.call("Equal", fraction, b.constant(0, "int64"))
    size = b.call("Where", special, b.call("Where", infinite, b.constant(math.inf), b.constant(math.nan)), size)
    return b.cast(b.call("Where", negative, b.call("Neg", size), size), held)
