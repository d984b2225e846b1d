"""Calls that the standard's tests do not make: odd sizes, strides, asymmetric padding, groups, dilations, broadcasting,
negative axes and steps, empty tensors and scalars, batches of one and of none. One file per family of operators.
"""

from __future__ import annotations

from functools import lru_cache

from polymodel_conformance.corpus.entry import Entry
from polymodel_conformance.corpus.generated import (
    attention,
    elementwise,
    images,
    moves,
    normalization,
    pooling,
    products,
    quantization,
    recurrent,
    reductions,
    signals,
)
from polymodel_conformance.corpus.generated.row import entries_of

FAMILIES = (
    elementwise, products, pooling, reductions, attention, normalization, recurrent, moves, images, signals, quantization
)
"""Modules with a list ROWS each."""


@lru_cache(maxsize=1)
def generated() -> tuple[Entry, ...]:
    """Every row in float32, and in float64 where the operator takes that."""
    return tuple(entry for module in FAMILIES for entry in entries_of(module.ROWS))
