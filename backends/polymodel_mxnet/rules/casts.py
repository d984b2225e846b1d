"""Conversions between element types, and what passes/carry_types.py asks for besides."""

from __future__ import annotations

from polymodel.plan import Node
from polymodel_mxnet.dtypes import from_enum
from polymodel_mxnet.rules.table import TABLE
from polymodel_mxnet.symbols import Symbol, cast, current_trace, op


@TABLE.rule("Cast", since=6)
def cast_rule(node: Node, x: Symbol) -> Symbol:
    return convert(x, node.dtype(), from_enum(node.attr("to")))


@TABLE.rule("CastLike", since=15)
def cast_like(node: Node, x: Symbol, like: Symbol) -> Symbol:
    return convert(x, node.dtype(), node.dtype(1))


def convert(x: Symbol, old: str, new: str) -> Symbol:
    """Convert elements as the standard says: whatever is not zero is True."""
    if old == new:
        return x
    if new == "bool":
        return op("BlockGrad", x) != 0
    return cast(x, new)


@TABLE.rule("PassThrough", since=1, domain="polymodel")
def pass_through(node: Node, x: Symbol, value: Symbol) -> Symbol:
    """The second input, with the derivative of the first.

    A value and the number it is the rounding of differ by less than either, so their difference is exact and so is the
    sum; not so for what is not finite or was brought into range, which is taken as it is and has no derivative.
    """
    fixed = op("BlockGrad", value)
    if current_trace().purpose == "predict":
        return fixed
    moved = x + (fixed - op("BlockGrad", x))
    return op("_npi_where", op("BlockGrad", moved) == fixed, moved, fixed)
