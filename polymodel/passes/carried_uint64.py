"""uint64 on an int64 that has its bits.

Right as they are: moves, equality, bits, sums and products, which are the same in two's complement. With the top bit
flipped, signed order is unsigned order: comparisons, extrema, sorting. Written out: quotients, remainders, shifts to the
right, casts. Refused: what the standard defines by real numbers (means, norms, matrix products, resizing).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeAlias

from polymodel.bodies.table import Body
from polymodel.errors import Unsupported
from polymodel.feeds import is_float
from polymodel.plan import Node

_TOP = -(1 << 63)
_KEPT = (1 << 63) - 1

Compute: TypeAlias = Callable[[Body, Node, Collection[str], tuple[str, ...]], tuple[str, ...]]
Rule: TypeAlias = Callable[[Body, Node, Collection[str], Compute], tuple[str, ...]]


def _flipped(b: Body, x: str) -> str:
    return b.call("BitwiseXor", x, b.constant(_TOP, "int64"))


def _number(b: Body, value: int) -> str:
    return b.constant(value, "int64")


def _as_bits(b: Body, node: Node, held: Collection[str], compute: Compute) -> tuple[str, ...]:
    return compute(b, node, held, node.input_names)


def _in_order(b: Body, node: Node, held: Collection[str], compute: Compute) -> tuple[str, ...]:
    inputs = tuple(
        _flipped(b, n) if n and s is not None and s.dtype == "uint64" else n for n, s in zip(node.input_names, node.inputs, strict=True)
    )
    results = compute(b, node, held, inputs)
    return tuple(_flipped(b, n) if n and s.dtype == "uint64" else n for n, s in zip(results, node.outputs, strict=False))


def _scatter(b: Body, node: Node, held: Collection[str], compute: Compute) -> tuple[str, ...]:
    ordered = node.attr("reduction") in ("min", "max")
    return (_in_order if ordered else _as_bits)(b, node, held, compute)


def _at_least(b: Body, x: str, y: str) -> str:
    return b.call("GreaterOrEqual", _flipped(b, x), _flipped(b, y))


def _quotient(b: Body, x: str, y: str) -> str:
    """Half of x divided, doubled and corrected by one; by a number with the top bit it is 0 or 1."""
    large = b.call("Less", y, _number(b, 0))
    divisor = b.call("Where", large, _number(b, 1), y)
    twice = b.call("Mul", b.call("Div", _half(b, x, 1), divisor), _number(b, 2))
    rest = b.call("Sub", x, b.call("Mul", twice, divisor))
    usual = b.call("Add", twice, b.cast(_at_least(b, rest, divisor), "int64"))
    return b.call("Where", large, b.cast(_at_least(b, x, y), "int64"), usual)


def _half(b: Body, x: str, by: int) -> str:
    """x divided by 2^by as an unsigned number, by at least 1."""
    shifted = b.call("BitShift", x, _number(b, by), direction="RIGHT")
    return b.call("BitwiseAnd", shifted, _number(b, (1 << (64 - by)) - 1))


def _div(b: Body, node: Node, held: Collection[str], compute: Compute) -> tuple[str, ...]:
    return (_quotient(b, *node.input_names),)


def _mod(b: Body, node: Node, held: Collection[str], compute: Compute) -> tuple[str, ...]:
    x, y = node.input_names
    return (b.call("Sub", x, b.call("Mul", _quotient(b, x, y), y)),)


def _shift(b: Body, node: Node, held: Collection[str], compute: Compute) -> tuple[str, ...]:
    """To the right, copies of the sign bit are cleared."""
    if node.attr("direction") == "LEFT":
        return compute(b, node, held, node.input_names)
    x, by = node.input_names
    zero = _number(b, 0)
    inside = b.call("And", b.call("GreaterOrEqual", by, zero), b.call("Less", by, _number(b, 64)))
    filled = b.call("BitShift", x, by, direction="RIGHT")
    above = b.call("BitShift", _number(b, -1), b.call("Sub", _number(b, 64), by), direction="LEFT")
    return (b.call("Where", inside, b.call("BitwiseAnd", filled, b.call("BitwiseNot", above)), zero),)


def _abs(b: Body, node: Node, held: Collection[str], compute: Compute) -> tuple[str, ...]:
    return (b.call("Identity", node.input_names[0]),)


def _sign(b: Body, node: Node, held: Collection[str], compute: Compute) -> tuple[str, ...]:
    nothing = b.call("Equal", node.input_names[0], _number(b, 0))
    return (b.cast(b.call("Not", nothing), "int64"),)


def _power(b: Body, node: Node, held: Collection[str], compute: Compute) -> tuple[str, ...]:
    """A floating-point base gets a floating-point exponent; powers of integers have the same low bits."""
    x, y = node.input_names
    if is_float(node.dtype()) and node.dtype(1) == "uint64":
        wide = b.spec(x).dtype
        return compute(b, node, held, (x, b.cast(unsigned_to_float(b, y, wide), wide)))
    if node.dtype() == "uint64" and is_float(node.dtype(1)):
        exact = b.call("Pow", unsigned_to_float(b, x, "float64"), b.cast(y, "float64"))
        return (float_to_unsigned(b, exact),)
    return compute(b, node, held, node.input_names)


def unsigned_to_float(b: Body, x: str, target: str) -> str:
    """The number as a float64 that rounds to the target as the number itself does."""
    if target == "float64":
        low = b.call("BitwiseAnd", x, _number(b, (1 << 32) - 1))
        scaled = b.call("Mul", b.cast(_half(b, x, 32), "float64"), b.constant(float(1 << 32)))
        return b.call("Add", scaled, b.cast(low, "float64"))
    lost = b.call("Equal", b.call("BitwiseAnd", x, _number(b, (1 << 11) - 1)), _number(b, 0))
    high = b.call("BitwiseOr", _half(b, x, 11), b.cast(b.call("Not", lost), "int64"))
    scaled = b.call("Mul", b.cast(high, "float64"), b.constant(float(1 << 11)))
    return b.call("Where", _at_least(b, x, _number(b, 1 << 53)), scaled, b.cast(x, "float64"))


def float_to_unsigned(b: Body, x: str) -> str:
    """Floating-point numbers as the bits of uint64; negative ones wrap around."""
    wide = b.cast(x, "float64")
    large = b.call("GreaterOrEqual", wide, b.constant(float(1 << 63)))
    moved = b.call("Where", large, b.call("Sub", wide, b.constant(float(1 << 64))), wide)
    return b.cast(moved, "int64")


def refuse_unknown(node: Node) -> tuple[str, ...]:
    """For an operator that has no rule here.

    Raises:
        Unsupported: always.
    """
    raise Unsupported(f"{node}: uint64 is held in int64 here, which cannot compute {node.op_type}: cast it to float64")


_BITS = (
    "Identity Reshape Transpose Flatten Squeeze Unsqueeze Expand Tile Concat Split Slice Gather GatherElements GatherND "
    "Where Pad Compress Trilu DepthToSpace SpaceToDepth ReverseSequence CenterCropPad ConstantOfShape EyeLike OneHot "
    "TensorScatter BitwiseAnd BitwiseOr BitwiseXor BitwiseNot Equal Add Sub Mul ReduceSum ReduceProd CumSum CumProd "
    "NonZero Shape Size RandomNormalLike RandomUniformLike Dropout"
).split()
_ORDERED = "Less LessOrEqual Greater GreaterOrEqual Max Min Clip ReduceMax ReduceMin ArgMax ArgMin TopK Unique".split()

UNSIGNED: dict[str, Rule] = {
    **dict.fromkeys(_BITS, _as_bits),
    **dict.fromkeys(_ORDERED, _in_order),
    "ScatterElements": _scatter,
    "ScatterND": _scatter,
    "Div": _div,
    "Mod": _mod,
    "BitShift": _shift,
    "Abs": _abs,
    "Sign": _sign,
    "Pow": _power,
}
"""Rules for calls that have a uint64 among their inputs or outputs."""
