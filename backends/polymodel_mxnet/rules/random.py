"""Random operators, drawn by MXNet's own generator: Dropout and Bernoulli-like masks."""

from __future__ import annotations

import numpy as np

from polymodel.plan import Node
from polymodel_mxnet.rules.table import TABLE
from polymodel_mxnet.symbols import Symbol, constant, op


@TABLE.rule("Dropout", since=7)
def dropout(node: Node, x: Symbol, ratio: Symbol = None, training: Symbol = None) -> Symbol | tuple[Symbol, Symbol]:
    rate = float(node.const(1).reshape(())) if node.has_input(1) else 0.5
    on = bool(node.const(2).reshape(())) if node.has_input(2) else False
    if not on or rate == 0.0:
        return x, constant(np.ones(node.shape(), bool))
    ones = constant(np.ones(node.shape(), "float32"))
    kept = op("_npx_dropout", ones, p=rate, mode="always")
    mask = op("BlockGrad", kept) != 0
    scale = op("_npi_cast", op("BlockGrad", kept), dtype=node.dtype())
    return op("_npi_multiply", x, scale), mask
