"""What the batches of an epoch say together."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import numpy as np

from polymodel.metrics.base import StreamingMetric
from polymodel.training.history import from_word, to_word

if TYPE_CHECKING:
    from polymodel.program import Program


@final
class Means:
    """Running means of scalars, each batch weighted with its number of samples, and totals of streaming metrics, in float64.

    The mean of a loss that leaves samples out or weights them (ignore_index, class weights) is a mean of batch means.

    Args:
        streaming: metrics that are put together by their own rule, by name.

    Example:
        >>> means = Means()
        >>> means.add({"loss": 1.0}, 3)
        >>> means.add({"loss": 2.0}, 1)
        >>> means.values()
        {'loss': 1.25}
    """

    def __init__(self, streaming: Mapping[str, StreamingMetric] | None = None) -> None:
        self._streaming = streaming or {}
        self._totals: dict[str, np.ndarray] = {}
        self._sums: dict[str, float] = {}
        self._order: list[str] = []
        self._weights: dict[str, int] = {}

    def add(self, values: Mapping[str, Any], weight: int) -> None:
        """Take in what a batch returned: scalars, and an array for each streaming metric."""
        self._order += [n for n in values if n not in self._order]
        for name, value in values.items():
            metric = self._streaming.get(name)
            if metric is None:
                self._sums[name] = self._sums.get(name, 0.0) + float(value) * weight
                self._weights[name] = self._weights.get(name, 0) + weight
                continue
            part = np.asarray(value, np.float64)
            self._totals[name] = metric.merge(self._totals[name], part) if name in self._totals else part

    def values(self) -> dict[str, Any]:
        """What they say up to now; empty before the first batch. Floats, and arrays of metrics that are no scalars."""
        return {
            n: self._streaming[n].finish(self._totals[n]) if n in self._totals else self._sums[n] / self._weights[n]
            for n in self._order
        }

    def to_json(self) -> dict[str, Any]:
        """The state, for a checkpoint in the middle of an epoch."""
        totals = {n: [list(t.shape), [to_word(float(v)) for v in t.ravel()]] for n, t in self._totals.items()}
        sums = {n: to_word(s) for n, s in self._sums.items()}
        return {"weights": self._weights, "sums": sums, "totals": totals, "order": self._order}

    @classmethod
    def from_json(cls, state: Mapping[str, Any], streaming: Mapping[str, StreamingMetric] | None = None) -> Means:
        """The reverse of to_json, bit for bit."""
        means = cls(streaming)
        weights = state.get("weights", dict.fromkeys(state["sums"], state.get("weight", 0)))  # one number in older files
        means._weights = {n: int(w) for n, w in weights.items()}
        means._sums = {n: from_word(s) for n, s in state["sums"].items()}
        for name, (shape, words) in state.get("totals", {}).items():
            means._totals[name] = np.array([from_word(w) for w in words], np.float64).reshape(shape)
        means._order = list(state.get("order", means._sums))
        return means


def means_of(
    current: Callable[[], Program],
    batches: Iterable[tuple[int, Mapping[str, np.ndarray]]],
    names: Sequence[str],
    streaming: Mapping[str, StreamingMetric],
) -> dict[str, Any]:
    """What a program says of batches.

    Args:
        current: the program; a batch that brings weights along may make it another one.
        batches: numbers of samples, and what to feed.
        names: of its outputs.
        streaming: those that are put together by their own rule.
    """
    means, counts = Means(streaming), deque[int]()
    source = iter(batches)
    waiting: list[tuple[int, Mapping[str, np.ndarray]]] = []

    def feeds(program: Program) -> Iterator[Mapping[str, np.ndarray]]:
        for item in itertools.chain(tuple(waiting), source):
            waiting[:] = [item]
            if current() is not program:
                return
            waiting.clear()
            counts.append(item[0])
            yield item[1]

    ended = False
    while not ended:
        program = current()
        for values in program.predict_each(feeds(program), names):
            means.add(values, counts.popleft())
        ended = not waiting
    return means.values()
