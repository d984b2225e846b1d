"""The calls that a random graph is made of: rows of (weight, function), by family.

A row takes values that are there or makes new ones, and raises Unfit when it cannot. Arguments stay where an operator is
defined and finite; what a graph makes of that is the graph's affair.
"""

from __future__ import annotations

from collections.abc import Callable

from polymodel_conformance.random_graphs.operators import elementwise, images, indexing, movement, products, reductions
from polymodel_conformance.random_graphs.sketch import Sketch

TABLE: tuple[tuple[int, Callable[[Sketch], object]], ...] = (
    *elementwise.ROWS, *movement.ROWS, *indexing.ROWS, *reductions.ROWS, *products.ROWS, *images.ROWS,
)
"""Every row."""
