"""Operators on the bits of numbers, written with arithmetic."""

from __future__ import annotations

import numpy as np

from polymodel.bodies.rounding import float_bits, float_from_bits
from polymodel.bodies.table import BODIES, Body
from polymodel.feeds import is_float
from polymodel.passes.carriers import INTEGERS, width
from polymodel.plan import Node
from polymodel.spec import onnx_dtype


@BODIES.rule("BitShift", since=11)
def bit_shift(b: Body, node: Node, x: str, by: str) -> str:
    """A product with a power of two, or the quotient that is left when the low bits are taken away.

    A shift by a negative number or by the width or more leaves nothing but, to the right, the sign.
    """
    kind = INTEGERS[node.dtype()]
    zero = b.constant(0, node.dtype())
    inside = b.call("Less", by, b.constant(kind.bits, node.dtype()))
    if kind.signed:
        inside = b.call("And", inside, b.call("GreaterOrEqual", by, zero))
    by = b.cast(b.call("Where", inside, by, zero), "int64")
    # the top power of a signed type is its smallest number, which has the same low bits
    powers = np.array([((1 << i) + (1 << 63)) % (1 << 64) - (1 << 63) for i in range(kind.bits)], np.int64)
    power = b.call("Gather", b.constant(powers.astype(node.dtype())), by)
    if node.attr("direction") == "LEFT":
        return b.call("Where", inside, b.call("Mul", x, power), zero)
    masks = np.array([(1 << i) - 1 for i in range(kind.bits)], np.uint64).astype(node.dtype())
    high = b.call("Sub", x, b.call("BitwiseAnd", x, b.call("Gather", b.constant(masks), by)))
    if kind.signed:  # dividing by the smallest number would change the sign
        negative = b.call("Less", x, zero)
        sign = b.call("Where", negative, b.constant(-1, node.dtype()), zero)
        last = b.call("Equal", by, b.constant(kind.bits - 1, "int64"))
        shifted = b.call("Where", last, sign, b.call("Div", high, power))
        return b.call("Where", inside, shifted, sign)
    return b.call("Where", inside, b.call("Div", high, power), zero)


@BODIES.rule("BitCast", since=26)
def bit_cast(b: Body, node: Node, x: str) -> str:
    """The bits of a number from its value; a NaN has one pattern."""
    source, target = node.dtype(), node.outputs[0].dtype
    if source == target:
        return b.call("Identity", x)
    bits = float_bits(b, x, source) if is_float(source) else b.cast(x, "int64")
    if not is_float(target):
        return b.cast(bits, target)
    if width(target) > 8:
        return float_from_bits(b, bits, target, target)
    value = float_from_bits(b, bits, target, "float32")  # Gather takes no smaller type; infinities stay
    return b.call("Cast", value, to=onnx_dtype(target).value, saturate=0)
