"""The table of this backend's rules, and what rules say about sizes that may be unknown when lowering."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

from polymodel.rules import RuleTable
from polymodel_tensorflow.compat import tf

TABLE = RuleTable("tensorflow")

INSIDE_XLA: ContextVar[bool] = ContextVar("inside_xla", default=False)
"""Whether what is being traced will be compiled by XLA."""


def sizes(x: Any) -> list[Any]:
    """Sizes of a tensor: numbers where they are known, 0-dim int32 tensors where they are not."""
    static = x.shape.as_list()
    if None not in static:
        return list(static)
    dynamic = tf.shape(x)
    return [dynamic[i] if d is None else d for i, d in enumerate(static)]


def product(dims: Sequence[Any]) -> Any:
    """Product of sizes; a number when all of them are."""
    result: Any = 1
    for dim in dims:
        result = dim if isinstance(result, int) and result == 1 else result * dim
    return result
