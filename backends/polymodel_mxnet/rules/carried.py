"""What passes/carry_types.py asks of a framework besides operators of the standard."""

from __future__ import annotations

from polymodel.plan import Node
from polymodel_mxnet.rules.table import TABLE
from polymodel_mxnet.symbols import Symbol, current_trace, op


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
