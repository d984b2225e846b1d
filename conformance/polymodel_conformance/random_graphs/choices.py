"""A graph is a row of small numbers: what was drawn to build it. To shrink the graph is to shrink the row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar, final

import numpy as np

from polymodel import random

T = TypeVar("T")


@final
class Spent(Exception):
    """More was drawn than a graph of reasonable size needs."""


@final
class Choices:
    """Draws numbers, and remembers them.

    Args:
        given: what comes first; each number is taken modulo the range asked for, so that every row means a graph.
        rng: what comes then; zeros, the simplest choice of everything, when None.
    """

    def __init__(self, given: Sequence[int] = (), rng: np.random.Generator | None = None) -> None:
        self._given = given
        self._rng = rng
        self.drawn: list[int] = []

    @classmethod
    def of_seed(cls, seed: int, index: int) -> Choices:
        """The choices of graph number `index`."""
        return cls(rng=random.generator(seed, "random graph", str(index)))

    def below(self, n: int) -> int:
        """A number from 0 to n - 1; 0 is the simplest."""
        at = len(self.drawn)
        if at > 2000:
            raise Spent
        if at < len(self._given):
            number = self._given[at] % n
        else:
            number = 0 if self._rng is None else int(self._rng.integers(n))
        self.drawn.append(number)
        return number

    def of(self, items: Sequence[T]) -> T:
        """One of several; the first is the simplest."""
        return items[self.below(len(items))]

    def chance(self, percent: int) -> bool:
        """True in so many of a hundred; False is the simplest."""
        return self.below(100) >= 100 - percent

    def some(self, n: int) -> tuple[int, ...]:
        """Some of the numbers below n, in order."""
        return tuple(i for i in range(n) if self.below(2))

    def order(self, n: int) -> tuple[int, ...]:
        """A permutation of the numbers below n."""
        left = list(range(n))
        return tuple(left.pop(self.below(len(left))) for _ in range(n))
