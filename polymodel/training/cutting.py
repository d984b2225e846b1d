"""A batch in parts: rows of what is fed, and the same rows of its random numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias, final

import numpy as np

from polymodel.errors import DataError, GraphError
from polymodel.feeds import check_inputs
from polymodel.graph import Graph
from polymodel.spec import Dim, TensorSpec, bind_dims

Arrays: TypeAlias = Mapping[str, np.ndarray]


@final
@dataclass(frozen=True, eq=False)
class Part:
    """Some rows of a batch.

    Attributes:
        rows: how many.
        feeds: what a step is fed.
        masks: its random numbers: those rows of the whole batch's.
    """

    rows: int
    feeds: Arrays
    masks: Arrays


@final
class Cutter:
    """Cuts the batches of a graph.

    Args:
        graph: whose inputs they are.
        seed: of its random numbers.

    Raises:
        GraphError: its batch has a fixed size.
    """

    def __init__(self, graph: Graph, seed: int) -> None:
        self.graph, self.seed = graph, seed
        self.batch = batch_dim(graph)

    def cut(self, inputs: Arrays, step: int, parts: int) -> list[Part]:
        """At most so many parts, none of them empty, whose sizes differ by one at most.

        Args:
            inputs: the batch.
            step: its number, which names the random numbers.
            parts: how many, as far as there are rows.

        Raises:
            DataError, ShapeError: an input does not fit.
        """
        inputs = check_inputs(self.graph, inputs, None)
        axes = {n: axis for n in inputs if (axis := self._axis(n)) is not None}
        sizes = {inputs[n].shape[axis] for n, axis in axes.items()}
        if len(sizes) != 1:
            raise DataError(f"inputs of a batch have different numbers of samples: {sorted(sizes)}")
        count = sizes.pop()
        if not count:
            raise DataError("a batch without samples cannot be trained on")
        edges = np.linspace(0, count, min(parts, count) + 1).round().astype(int)
        masks = self._masks(inputs, step)
        found = []
        for a, b in pairwise(int(e) for e in edges):
            rows = slice(a, b)
            feeds = {n: _rows(x, axes[n], rows) if n in axes else x for n, x in inputs.items()}
            found.append(Part(b - a, feeds, {n: _rows(m, axis, rows) for n, (m, axis) in masks.items()}))
        return found

    def _axis(self, name: str) -> int | None:
        """Where the samples of an input are; None where it has none, or nobody knows."""
        shape = self.graph.specs[name].shape if name in self.graph.specs else ()
        if self.batch is None:
            return 0 if shape and shape[0] is None else None
        return shape.index(self.batch) if self.batch in shape else None

    def _masks(self, inputs: Arrays, step: int) -> dict[str, tuple[np.ndarray, int]]:
        """The random numbers of the whole batch, and the axis of its samples."""
        graph = self.graph
        if not graph.streams:
            return {}
        dims = bind_dims({n: graph.specs[n] for n in inputs}, {n: a.shape for n, a in inputs.items()})
        found = {}
        for name, stream in graph.streams.items():
            if self.batch not in stream.spec.shape:
                raise GraphError(
                    f"dropout mask {name!r} is {stream.spec}, which has no axis of samples ({self.batch!r}): a batch cannot be "
                    "cut into parts"
                )
            shape = [d for d in stream.spec.bind(dims).shape if isinstance(d, int)]
            found[name] = (stream.draw(self.seed, step, shape), stream.spec.shape.index(self.batch))
        return found


def _rows(array: np.ndarray, axis: int, rows: slice) -> np.ndarray:
    return array[(*[slice(None)] * axis, rows)]


def batch_dim(graph: Graph) -> Dim:
    """The name of the number of samples.

    Raises:
        GraphError: it is fixed, so a batch cannot be cut.
    """
    spec: TensorSpec = graph.specs[graph.inputs[0]]
    if not spec.rank or isinstance(spec.shape[0], int):
        raise GraphError(
            f"input {graph.inputs[0]!r} is {spec}: a batch of fixed size cannot be cut into parts; name the size"
        )
    return spec.shape[0]
