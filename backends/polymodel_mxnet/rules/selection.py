"""Operators that select elements, as many as the data decides: NonZero.

Unique and NonMaxSuppression run on the host (polymodel/host/selection.py): MXNet has no kernels with their meaning.
"""

from __future__ import annotations

from polymodel.plan import Node
from polymodel_mxnet.rules.table import TABLE
from polymodel_mxnet.symbols import Symbol, cast, op, transpose


@TABLE.rule("NonZero", since=9)
def nonzero(node: Node, x: Symbol) -> Symbol:
    """(rank, count); how many there are is known once it has run."""
    x = op("BlockGrad", x)
    if node.dtype() in ("bool", "float16"):
        x = cast(x, "float32")
    return transpose(op("_npx_nonzero", x), (1, 0))
