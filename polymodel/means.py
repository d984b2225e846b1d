"""Means over the batches of an epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from polymodel.history import from_word, to_word


@final
class Means:
    """Running means of scalars, each batch weighted with its number of samples, summed in float64.

    The mean of a loss that leaves samples out or weights them (ignore_index, class weights) is a mean of batch means.

    Example:
        >>> means = Means()
        >>> means.add({"loss": 1.0}, 3)
        >>> means.add({"loss": 2.0}, 1)
        >>> means.values()
        {'loss': 1.25}
    """

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._weight = 0

    def add(self, values: Mapping[str, float], weight: int) -> None:
        """Take in the scalars of a batch."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value * weight
        self._weight += weight

    def values(self) -> dict[str, float]:
        """The means up to now; empty before the first batch."""
        return {n: s / self._weight for n, s in self._sums.items()}

    def to_json(self) -> dict[str, Any]:
        """The state, for a checkpoint in the middle of an epoch."""
        return {"weight": self._weight, "sums": {n: to_word(s) for n, s in self._sums.items()}}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Means:
        """The reverse of to_json, bit for bit."""
        means = cls()
        means._weight = int(state["weight"])
        means._sums = {n: from_word(s) for n, s in state["sums"].items()}
        return means
