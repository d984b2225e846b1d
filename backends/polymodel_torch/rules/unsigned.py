"""uint16, uint32 and uint64: PyTorch stores them but has few kernels for them. NumPy computes them on the host.

A call in this table is answered here whenever an input has one of these types; rules never see them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from polymodel.feeds import is_float
from polymodel.plan import Node
from polymodel_torch.compat import torch
from polymodel_torch.dtypes import to_numpy, to_torch
from polymodel_torch.rules.table import leaf

_TYPES = frozenset({"uint16", "uint32", "uint64"})

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.floor_divide,
    "Mod": np.remainder,
    "Pow": np.power,
    "Min": lambda *xs: reduce(np.minimum, xs),
    "Max": lambda *xs: reduce(np.maximum, xs),
    "Equal": np.equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "BitwiseAnd": np.bitwise_and,
    "BitwiseOr": np.bitwise_or,
    "BitwiseXor": np.bitwise_xor,
    "BitwiseNot": np.invert,
    "Sign": np.sign,
    "Abs": np.abs,
}


def unsigned_rule(node: Node) -> Callable[..., Any] | None:
    """The host function for a call on these types, None where the ordinary rule serves."""
    function = _FUNCTIONS.get(node.op_type)
    if function is None or node.domain or not any(s is not None and s.dtype in _TYPES for s in node.inputs):
        return None
    if is_float(node.dtype()):  # a power of a floating-point number
        return None

    def call(*inputs: torch.Tensor) -> torch.Tensor:
        arrays = [to_numpy(t) for t in inputs]
        result = np.asarray(function(*arrays))
        dtype = result.dtype if result.dtype == bool else arrays[0].dtype
        return to_torch(np.array(result, dtype), str(inputs[0].device))

    call.__name__ = f"unsigned_{node.op_type}"
    return leaf(call)
