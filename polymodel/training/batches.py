"""What a fit takes its batches from: arrays in memory, or anything that can be iterated over."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, final

import numpy as np

from polymodel import random
from polymodel.data.dataset import is_dataset
from polymodel.data.foreign import as_array, from_frame, is_frame
from polymodel.data.loader import Loader
from polymodel.data.samples import Samples, count_of, take
from polymodel.errors import ConfigError, DataError, GraphError
from polymodel.graph import Graph
from polymodel.spec import numpy_dtype
from polymodel.training.goal import WEIGHT

if TYPE_CHECKING:
    from polymodel.program import Program

Feeds: TypeAlias = Mapping[str, np.ndarray]


class Batches(ABC):
    """Batches by epoch.

    Attributes:
        count: batches of an epoch; None when nobody knows before it ends.
        samples: how many there are; None when nobody knows.
        batch_size: None when the source cuts its own batches.
    """

    count: int | None
    samples: int | None
    batch_size: int | None

    @abstractmethod
    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[int, Feeds]]:
        """The batches of an epoch with their numbers of samples.

        Args:
            epoch: from 0.
            start: number of the first batch wanted.
        """

    def take_weights(self, dtype: str) -> None:  # noqa: B027  a source brings its weights along, or ones are put in
        """The program takes a weight for each sample from now on: where there are none they are ones."""

    @abstractmethod
    def again(self, epoch: int, batch: int) -> Feeds | None:
        """One batch once more; None when that cannot be had."""


@final
class ArrayBatches(Batches):
    """Arrays in memory. Every pass is cut in an order of its own; an epoch is a pass, or a number of batches that go on from
    one pass to the next.

    Args:
        samples: checked arrays.
        batch_size: samples of a batch; the last one of a pass holds what is left.
        seed: of the orders; None leaves the samples as they are.
        steps: batches of an epoch; those of a pass when None.
    """

    def __init__(self, samples: Samples, batch_size: int, seed: int | None, steps: int | None = None) -> None:
        self.data, self.size, self.seed = samples, batch_size, seed
        self.batch_size = batch_size
        self.samples = samples.count
        self.in_pass = samples.batch_count(batch_size)
        self.count = self.steps = steps or self.in_pass

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[int, Feeds]]:
        at, end, size, count = epoch * self.steps + start, (epoch + 1) * self.steps, self.size, self.data.count
        while at < end:
            number, place = divmod(at, self.in_pass)
            for feeds in itertools.islice(self.data.batches(size, self._order(number), place), end - at):
                yield min(size, count - place * size), feeds
                place += 1
                at += 1

    def take_weights(self, dtype: str) -> None:
        if WEIGHT not in self.data.arrays:
            ones = np.ones(self.data.count, numpy_dtype(dtype))
            self.data = Samples({**self.data.arrays, WEIGHT: ones}, self.data.count)

    def again(self, epoch: int, batch: int) -> Feeds | None:
        return next(self.epoch(epoch, batch))[1]

    def _order(self, number: int) -> np.ndarray | None:
        return None if self.seed is None else random.permutation(self.seed, number, self.data.count)


@final
class StreamBatches(Batches):
    """Batches that come from outside.

    Args:
        source: what gives a new iterator for each epoch (a data loader, a list, tf.data), a function from the epoch's number to
            such a thing, or an iterator that goes on from epoch to epoch.
        check: what a batch means to the trainer: the number of its samples and its feeds.
        steps: batches of an epoch; until the source ends when None.

    Raises:
        ConfigError: an iterator without `steps`, or nothing that can be iterated over.
    """

    def __init__(self, source: Any, check: Callable[[Any], Samples], steps: int | None = None) -> None:
        gives = callable(source) or isinstance(source, Iterable) or hasattr(source, "__getitem__")
        if not gives or isinstance(source, np.ndarray | Mapping | str):
            raise ConfigError(
                f"data is a pair of inputs and targets, or gives batches of such pairs; received {type(source).__name__}"
            )
        self.source, self.check = source, check
        self.once = isinstance(source, Iterator)
        if self.once and steps is None:
            raise ConfigError("an iterator does not say where an epoch ends: pass steps_per_epoch")
        self.count = steps if steps is not None else _length(source)
        self.samples = self.batch_size = None

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[int, Feeds]]:
        done = start
        for item in itertools.islice(self._iterator(epoch, start), None if self.count is None else self.count - start):
            samples = self.check(item)
            yield samples.count, samples.arrays
            done += 1
        if done == 0 or (self.count is not None and done < self.count):
            wanted = "any" if self.count is None else str(self.count)
            raise DataError(f"the data ended after {done} batches of epoch {epoch + 1}, wanted {wanted}")

    def again(self, epoch: int, batch: int) -> Feeds | None:
        return None

    def _iterator(self, epoch: int, start: int) -> Iterator[Any]:
        if self.once:
            if start:
                raise DataError(
                    "a fit cannot go on in the middle of an epoch with an iterator, which cannot be asked for what it gave "
                    "before: pass a function of the epoch's number, or resume from a checkpoint of an epoch's end"
                )
            return iter(self.source)
        made = self.source(epoch) if callable(self.source) else self.source
        return itertools.islice(iter(made), start, None)


def is_pair(data: Any) -> bool:
    """Whether data are inputs, targets and perhaps weights in memory, and not a source of batches."""
    if not isinstance(data, tuple | list) or len(data) not in (2, 3):
        return False
    return isinstance(data, tuple) or not isinstance(data[0], tuple | list)


def has_weights(data: Any) -> bool:
    """Whether data in memory bring a weight for each sample along."""
    return is_pair(data) and len(data) == 3 and data[2] is not None


def class_weights(weights: Mapping[int, float], target: Any) -> np.ndarray:
    """A weight for each sample from one for each label.

    Args:
        weights: by label; 1 for those left out.
        target: labels (batch,), or a distribution over classes (batch, classes) whose largest counts.

    Raises:
        DataError: the target is neither.
    """
    target = as_array(target)
    if isinstance(target, Mapping) or target.ndim not in (1, 2) or (target.ndim == 2 and target.shape[1] < 2):
        shape = "several targets" if isinstance(target, Mapping) else f"a target of shape {target.shape}"
        raise DataError(f"class_weight needs one label for each sample, received {shape}: pass sample_weight")
    labels = target if target.ndim == 1 else target.argmax(1)
    table = np.ones(max(int(labels.max(initial=0)), *map(int, weights), 0) + 1)
    for label, weight in weights.items():
        table[int(label)] = weight
    found: np.ndarray = np.where(labels < 0, 1.0, table[np.maximum(labels, 0).astype(np.int64)])
    return found


def last_part(data: Sequence[Any], share: float) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The first samples and the last ones, in their order, as Keras's validation_split.

    Args:
        data: inputs, targets and perhaps weights.
        share: of the last ones, in (0, 1).

    Raises:
        ConfigError: the share leaves one of them empty.
    """
    count = count_of(data[1])
    kept = int(count * (1.0 - share)) if 0 < share < 1 else 0
    if not 0 < kept < count:
        raise ConfigError(f"validation_split={share} of {count} samples leaves {kept} and {count - kept}: give a share in (0, 1)")
    parts = [None if a is None else (take(a, slice(0, kept)), take(a, slice(kept, None))) for a in data]
    return tuple(p and p[0] for p in parts), tuple(p and p[1] for p in parts)


def _length(source: Any) -> int | None:
    try:
        return len(source)
    except TypeError:  # a generator function, a stream of unknown length
        return None


def joined(program: Program, samples: Samples, names: Sequence[str], batch_size: int) -> dict[str, np.ndarray]:
    """Outputs for all samples, computed batch by batch.

    Raises:
        GraphError: an output has no axis of samples, and there are several batches.
    """
    found: dict[str, np.ndarray] = {}
    for i, parts in enumerate(program.predict_each(samples.batches(batch_size), names)):
        begin = i * batch_size
        for name, part in parts.items():
            size = min(batch_size, samples.count - begin)
            if samples.count <= batch_size:
                found[name] = part
                continue
            if part.shape[:1] != (size,):
                raise GraphError(
                    f"output {name!r} has shape {part.shape} for a batch of {size}, so batches cannot be joined: "
                    f"pass batch_size={samples.count} or more"
                )
            if i == 0:
                found[name] = np.empty((samples.count, *part.shape[1:]), part.dtype)
            found[name][begin : begin + size] = part
    return found


def predicted(program: Program, graph: Graph, data: Any, batch_size: int) -> dict[str, np.ndarray]:
    """A model's outputs for arrays, a table, a data set, a loader or anything else that gives batches.

    Raises:
        DataError: there is no batch, or one does not fit.
    """
    if isinstance(data, np.ndarray | Mapping) or is_frame(data) or hasattr(data, "dtype"):
        given = from_frame(data, {n: graph.specs[n] for n in graph.inputs}) if is_frame(data) else data
        return joined(program, Samples.of(graph, given), graph.outputs, batch_size)
    if is_dataset(data):
        data = Loader(data, batch_size)
    items = data.batches(0, shuffle=False) if isinstance(data, Loader) else data
    samples = (Samples.of(graph, as_array(item[0] if isinstance(item, tuple | list) else item)) for item in items)
    found = list(program.predict_each((s.arrays for s in samples), graph.outputs))
    if not found:
        raise DataError("there is no batch to predict")
    return {n: np.concatenate([part[n] for part in found]) for n in graph.outputs}


def check_count(name: str, value: object) -> None:
    """Refuse what is no integer of 1 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} must be an integer of 1 or more, received {value!r}")
