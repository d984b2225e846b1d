"""Conversions between element types of which at least one is carried."""

from __future__ import annotations

from collections.abc import Callable, Collection

import onnx_ir as ir

from polymodel.bodies.rounding import float_bits, float_from_bits
from polymodel.bodies.table import Body
from polymodel.feeds import is_float
from polymodel.passes.carriers import INTEGERS, carrier, is_carried, width
from polymodel.plan import Node
from polymodel.spec import TensorSpec, dtype_name

DOMAIN = "polymodel"


def narrowed(b: Body, x: str, dtype: str) -> str:
    """The low bits of integers, read as a narrower type, in the type that they are held in."""
    kind, held = INTEGERS[dtype], b.spec(x).dtype
    if INTEGERS[held].bits <= kind.bits:
        return x
    mask = b.constant((1 << kind.bits) - 1, held)
    if not kind.signed:
        return b.call("BitwiseAnd", x, mask)
    half = b.constant(1 << (kind.bits - 1), held)
    return b.call("Sub", b.call("BitwiseAnd", b.call("Add", x, half), mask), half)


def rounded(b: Body, x: str, dtype: str, held: Collection[str], saturate: bool = False, round_mode: str = "up") -> str:
    """The nearest value of a floating-point type, in its carrier, with the derivative of a conversion."""
    target = carrier(dtype, held)
    spec = TensorSpec(b.spec(x).shape, target)
    nearest = b.fused("RoundTo", (x,), spec, to=dtype, saturate=int(saturate), round_mode=round_mode)
    return b.fused("PassThrough", (b.cast(x, target), nearest), spec) if is_float(b.spec(x).dtype) else nearest


def converted(b: Body, x: str, source: str, target: str, held: Collection[str], saturate: bool = True, round_mode: str = "up") -> str:
    """Cast: a value of one declared type becomes one of another, both in their carriers."""
    if source == target:
        return x
    if source == "uint64" and is_carried(source, held):
        from polymodel.passes.carried_uint64 import unsigned_to_float

        if target == "bool":
            return b.call("Not", b.call("Equal", x, b.constant(0, "int64")))
        if is_float(target):
            x, source = unsigned_to_float(b, x, target), "float64"
            if target == "float64":
                return x
    if target == "uint64" and is_carried(target, held):
        from polymodel.passes.carried_uint64 import float_to_unsigned

        return float_to_unsigned(b, x) if is_float(source) else b.cast(x, "int64")
    if not is_carried(target, held):
        return b.cast(x, target)
    if target in INTEGERS:
        if _within(source, target):
            return b.cast(x, carrier(target, held))
        if is_float(source):  # what is out of range has no meaning; it wraps as NumPy's does
            x = b.cast(x, "int64")
        wide = carrier(target, held)
        if b.spec(x).dtype in INTEGERS and INTEGERS[wide].bits < INTEGERS[b.spec(x).dtype].bits:
            return b.cast(narrowed(b, x, target), wide)
        return narrowed(b, b.cast(x, wide), target)
    return rounded(b, x, target, held, saturate and target.startswith("float8"), round_mode)


def _within(source: str, target: str) -> bool:
    """Whether every value of one integer type is one of another."""
    if source == "bool":
        return True
    if source not in INTEGERS:
        return False
    inner, outer = INTEGERS[source], INTEGERS[target]
    return outer.low <= inner.low and inner.high <= outer.high


def _cast(b: Body, node: Node, held: Collection[str]) -> tuple[str, ...]:
    return _convert(b, node, dtype_name(ir.DataType(int(node.attr("to")))), held)


def _cast_like(b: Body, node: Node, held: Collection[str]) -> tuple[str, ...]:
    return _convert(b, node, node.dtype(1), held)


def _convert(b: Body, node: Node, target: str, held: Collection[str]) -> tuple[str, ...]:
    saturate = node.attr("saturate") is None or bool(node.attr("saturate"))
    mode = node.attr("round_mode") or "up"
    return (converted(b, node.input_names[0], node.dtype(), target, held, saturate, mode),)


def _bit_cast(b: Body, node: Node, held: Collection[str]) -> tuple[str, ...]:
    x, source, target = node.input_names[0], node.dtype(), node.outputs[0].dtype
    if source == target:
        return (x,)
    signed = f"int{width(source)}"
    if is_float(source):
        direct = source in held and signed in held
        x = b.call("BitCast", x, to=_number(signed)) if direct else float_bits(b, x, source)
    if is_float(target):
        bits = b.cast(x, "int64")
        if target in held and signed in held:
            return (b.call("BitCast", b.cast(bits, signed), to=_number(target)),)
        return (float_from_bits(b, bits, target, carrier(target, held)),)
    return (converted(b, b.cast(x, "int64"), "int64", target, held),)


def _number(dtype: str) -> int:
    from polymodel.spec import onnx_dtype

    return int(onnx_dtype(dtype).value)


CASTS: dict[str, Callable[[Body, Node, Collection[str]], tuple[str, ...]]] = {
    "Cast": _cast,
    "CastLike": _cast_like,
    "BitCast": _bit_cast,
}
