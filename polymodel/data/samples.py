"""Samples in memory: checked against the model once, then cut into batches without further checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np

from polymodel import random
from polymodel.data.dataset import Dataset, Subset
from polymodel.errors import ConfigError, DataError
from polymodel.feeds import check_inputs
from polymodel.graph import Graph
from polymodel.spec import numpy_dtype
from polymodel.training.goal import TARGET, WEIGHT

Arrays: TypeAlias = Mapping[str, np.ndarray]
Inputs: TypeAlias = np.ndarray | Arrays
"""Samples along the first axis: one array for a model of one input, else arrays by input name."""
Targets: TypeAlias = np.ndarray | Arrays
"""One array for one loss, else arrays by output name."""
Data: TypeAlias = tuple[Inputs, Any]
"""Inputs and targets; a third array holds a weight for each sample."""



def is_goal(name: str) -> bool:
    """Whether an input belongs to the loss and not to the model."""
    return name in (TARGET, WEIGHT) or name.startswith(f"{TARGET}.")


@final
@dataclass(frozen=True, eq=False)
class Samples:
    """Arrays by input name, all of the model's dtypes and of one length.

    Attributes:
        arrays: samples along the first axis.
        count: how many there are, at least 1.
    """

    arrays: Arrays
    count: int

    @classmethod
    def of(cls, graph: Graph, inputs: Any, target: Any = None, weight: Any = None) -> Samples:
        """Check what a user gave.

        Args:
            graph: whose inputs they are; a target is its input "target".
            inputs: one array, or arrays by input name.
            target: array, arrays by output name, or None when the graph has no target.
            weight: of each sample, for a graph with the input "sample_weight"; ones when None.

        Raises:
            DataError: there are no samples, their numbers differ, a name or dtype does not fit.
            ShapeError: a shape does not fit.
        """
        names = [n for n in graph.inputs if target is None or not is_goal(n)]
        if not isinstance(inputs, Mapping):
            if len(names) != 1:
                raise DataError(f"the model has the inputs {', '.join(names)}: give a dict of arrays by name")
            inputs = {names[0]: inputs}
        given = {str(n): np.asarray(a) for n, a in inputs.items()}
        if isinstance(target, Mapping):
            given |= {f"{TARGET}.{n}": np.asarray(a) for n, a in target.items()}
        elif target is not None:
            given[TARGET] = np.asarray(target)
        if WEIGHT in graph.inputs and target is not None:
            first = next(iter(given.values()))
            found = np.ones(first.shape[:1]) if weight is None else np.asarray(weight)
            given[WEIGHT] = found.astype(numpy_dtype(graph.specs[WEIGHT].dtype))
        lengths = {n: a.shape[0] if a.ndim else -1 for n, a in given.items()}
        scalars = [n for n, length in lengths.items() if length < 0]
        if scalars:
            raise DataError(f"{scalars[0]!r} is a single number, expected samples along the first axis")
        if len(set(lengths.values())) > 1:
            counts = ", ".join(f"{n!r} has {length}" for n, length in lengths.items())
            raise DataError(f"inputs and target have different numbers of samples: {counts}")
        if not lengths or 0 in lengths.values():
            raise DataError(f"the data set is empty: {', '.join(lengths) or 'no array'} of 0 samples, wanted some")
        count = next(iter(lengths.values()))
        wanted = list(graph.inputs)
        extra = [n for n in given if n not in wanted]
        if extra:
            raise DataError(f"the model has no input {extra[0]!r}; its inputs are {', '.join(wanted)}")
        fixed = {n: size for n in wanted if n in given and isinstance(size := graph.specs[n].shape[0], int)}
        if fixed:
            check_inputs(graph, {n: a[: fixed.get(n)] for n, a in given.items()}, wanted)
            return cls({n: a.astype(numpy_dtype(graph.specs[n].dtype), copy=False) for n, a in given.items()}, count)
        return cls(check_inputs(graph, given, wanted), count)

    def batches(self, size: int, order: np.ndarray | None = None, start: int = 0) -> Iterator[dict[str, np.ndarray]]:
        """Cut into batches; the last one holds what is left.

        Args:
            size: samples of a batch.
            order: int64 (count,), which sample comes when; None leaves them as they are and copies nothing.
            start: number of the first batch wanted.
        """
        arrays = self.arrays
        for begin in range(start * size, self.count, size):
            if order is None:
                yield {n: a[begin : begin + size] for n, a in arrays.items()}
            else:
                index = order[begin : begin + size]
                yield {n: a.take(index, axis=0) for n, a in arrays.items()}

    def batch_count(self, size: int) -> int:
        """How many batches there are, the last partial one included."""
        return -(-self.count // size)


def split(data: Any, share: float, seed: int, name: str) -> tuple[Any, Any]:
    """Set samples aside at random: (the others, those set aside).

    Args:
        data: inputs and targets, or a polymodel.data.Dataset.
        share: part to set aside, in (0, 1).
        seed: seed of the run; the choice depends on it and on `name` only.
        name: purpose, "validation" or "test".

    Returns:
        Two of what was given; parts of a data set keep the numbers of the whole.

    Raises:
        ConfigError: the share is not in (0, 1).
        DataError: one of the two parts would be empty.
    """
    if not 0 < share < 1:
        raise ConfigError(f"the share of samples for {name} must be in (0, 1), received {share}")
    count = len(data) if isinstance(data, Dataset) else count_of(data[1])
    aside = round(count * share)
    if not 0 < aside < count:
        raise DataError(f"{share} of {count} samples for {name} leaves {count - aside} and {aside}: neither may be 0")
    order = random.generator(seed, "split", name).permutation(count)

    def pick(index: np.ndarray) -> Any:
        index = np.sort(index)
        return Subset(data, index) if isinstance(data, Dataset) else (take(data[0], index), take(data[1], index))

    return pick(order[aside:]), pick(order[:aside])


def take(arrays: Inputs, index: Any) -> Any:
    """Some samples of an array or of arrays by name."""
    return {n: a[index] for n, a in arrays.items()} if isinstance(arrays, Mapping) else arrays[index]


def count_of(arrays: Inputs) -> int:
    """How many samples an array or arrays by name hold."""
    return len(next(iter(arrays.values()))) if isinstance(arrays, Mapping) else len(arrays)
