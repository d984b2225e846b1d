"""From samples to batches: order, transforms, what is corrupt, and the work done ahead."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, NamedTuple, TypeAlias, final

import numpy as np

from polymodel import random
from polymodel.data.dataset import Dataset, ForeignDataset
from polymodel.data.prefetch import Workers
from polymodel.data.transforms import Normalize, Spec, get_all
from polymodel.data.transforms.base import Transform, joined
from polymodel.errors import ConfigError, CorruptSample, DataError

LOG = logging.getLogger("polymodel.data")
_SMALL = 4 << 20
"""Bytes of a batch that takes less time to cut than a thread of its own costs those that compute."""

Batch: TypeAlias = tuple[Any, ...]
"""Inputs and targets (batch, ...), and perhaps weights."""


class _Made(NamedTuple):
    """A batch as a worker hands it over.

    Attributes:
        batch: of the samples that could be read; None if there is none.
        skipped: the others: place and reason.
    """

    batch: Batch | None
    skipped: list[CorruptSample]


@final
class Loader:
    """Cuts a data set into batches; for Trainer.fit, evaluate and predict, and for loops of your own.

    The order of the samples and the random numbers of the transforms follow from (seed, pass, number of the sample) alone: batches
    are bit-equal on every backend, with any number of workers, in every part of a data set and when training goes on from a
    checkpoint, in the middle of an epoch too.

    Args:
        dataset: a polymodel.data.Dataset, or one of torch or Gluon: anything with len() and samples (x, y) by number.
        batch_size: samples of a batch; the last one of a pass holds what is left.
        transforms: what is done to each input; see polymodel.data.transforms. Images come as float32 (batch, channels, height,
            width) at the end: by "normalize" with its defaults if it is not among them.
        shuffle: draw a new order each pass.
        seed: of orders and transforms; that of the trainer when None, 0 without one.
        workers: threads that prepare batches ahead; 0 prepares them when they are asked for. None is 0 for batches of at most
            4 MiB that are cut out of memory as they are, 1 otherwise.
        processes: processes instead of threads, where preparing a batch takes about as long as a step: threads of Python share one
            interpreter with the training. A script that uses them needs the usual `if __name__ == "__main__":`.
        prefetch: batches that are prepared ahead.
        drop_last: leave out a last batch that is not full.
        on_error: "raise" ends with the first sample that cannot be read, "skip" leaves it out: the batch is smaller by it, and
            at the end of each pass a warning of the logger "polymodel.data" counts them and names the first.

    Raises:
        ConfigError: an impossible value.

    Attributes:
        skipped: what could not be read in the last pass, or in this one until now.

    Example:
        >>> from polymodel.data import ArrayDataset
        >>> images = ArrayDataset(np.zeros((10, 8, 8), np.uint8), np.arange(10))
        >>> with Loader(images, 4, transforms=[{"random_crop": {"size": 6}}, "mirror"]) as loader:
        ...     [x.shape for x, y in loader]
        [(4, 1, 6, 6), (4, 1, 6, 6), (2, 1, 6, 6)]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 32,
        *,
        transforms: Sequence[Spec] = (),
        shuffle: bool = True,
        seed: int | None = None,
        workers: int | None = None,
        processes: bool = False,
        prefetch: int = 4,
        drop_last: bool = False,
        on_error: Literal["raise", "skip"] = "raise",
    ) -> None:
        least = {"batch_size": (batch_size, 1), "workers": (0 if workers is None else workers, 0), "prefetch": (prefetch, 1)}
        for name, (value, bound) in least.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < bound:
                raise ConfigError(f"{name} must be an integer of {bound} or more, received {value!r}")
        if on_error not in ("raise", "skip"):
            raise ConfigError(f"on_error must be 'raise' or 'skip', received {on_error!r}")
        self.dataset = dataset if isinstance(dataset, Dataset) else ForeignDataset(dataset)
        self.batch_size, self.shuffle, self.seed, self.drop_last = batch_size, shuffle, seed, drop_last
        chain = get_all(transforms)
        if self.dataset.images and not any(isinstance(t, Normalize) for t in chain):
            chain = (*chain, Normalize())
        self.transforms = chain
        self.skipped: list[CorruptSample] = []
        if workers is None:
            held = self.dataset.sample_bytes
            workers = 0 if held is not None and batch_size * held <= _SMALL and not chain else 1
        self._workers = Workers(_Maker(self.dataset, chain, on_error == "skip"), workers, processes, prefetch)
        self._passes = 0
        if len(self) < 1:
            raise DataError(f"{len(self.dataset)} samples make no batch of {batch_size}: the data set is empty, or drop_last")

    def __len__(self) -> int:
        """Batches of a pass."""
        count = len(self.dataset)
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """The next pass."""
        number, self._passes = self._passes, self._passes + 1
        return self.batches(number)

    def batches(
        self, number: int, start: int = 0, seed: int | None = None, *, shuffle: bool | None = None
    ) -> Iterator[Batch]:
        """The batches of a pass; ends its work when the iteration ends, however it does.

        Args:
            number: of the pass, from 0.
            start: number of the first batch wanted.
            seed: where the loader has none.
            shuffle: in place of the loader's.

        Raises:
            CorruptSample: a sample cannot be read, and on_error is "raise".
            DataError: no sample of a batch can be read; or samples do not fit together.
        """
        seed = self.seed if self.seed is not None else seed or 0
        count, size = len(self.dataset), self.batch_size
        order = random.permutation(seed, number, count) if (self.shuffle if shuffle is None else shuffle) else np.arange(count)
        parts = ((order[at * size : (at + 1) * size].tolist(), seed, number) for at in range(start, len(self)))
        self.skipped = []
        made = self._workers.map(parts)
        try:
            for at, (batch, skipped) in zip(itertools.count(start + 1), made, strict=False):
                self.skipped += skipped
                if batch is None:
                    raise DataError(
                        f"none of the {len(skipped)} samples of batch {at} can be read ({skipped[0]}): on_error='skip' is for single "
                        "samples; take larger batches, or repair the data"
                    )
                yield batch
        finally:
            if self.skipped:
                LOG.warning(
                    "epoch %d: %d of %d samples could not be read and were skipped; the first: %s",
                    number + 1, len(self.skipped), count, self.skipped[0],
                )

    def close(self) -> None:
        """End the workers; a later pass starts new ones."""
        self._workers.close()

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


@final
class _Maker:
    """Makes a batch of some samples: what a worker does."""

    def __init__(self, dataset: Dataset, transforms: tuple[Transform, ...], skip: bool) -> None:
        self.dataset, self.transforms, self.skip = dataset, transforms, skip

    def __call__(self, chosen: list[int], seed: int, number: int) -> _Made:
        try:
            return _Made(self._batch(chosen, seed, number), [])
        except DataError as error:  # which sample is it?
            good, bad = [], []
            for index in chosen:
                try:
                    self._batch([index], seed, number)
                    good.append(index)
                except CorruptSample as one:
                    bad.append(one)
                except DataError as one:
                    bad.append(CorruptSample(self.dataset.where(index), str(one)))
            if not bad:  # each is fine by itself, but they do not fit together
                raise
            if not self.skip:
                raise bad[0] from error
            return _Made(self._batch(good, seed, number) if good else None, bad)

    def _batch(self, indices: list[int], seed: int, number: int) -> Batch:
        inputs, *rest = self.dataset.columns(indices)
        return (self._transformed(inputs, indices, seed, number), *map(_stacked, rest))

    def _transformed(self, inputs: Sequence[Any] | np.ndarray, indices: list[int], seed: int, number: int) -> Any:
        if not self.transforms:
            return _stacked(inputs)
        if isinstance(inputs[0], Mapping):
            raise DataError("transforms are for samples of one input; transform several inputs in the data set")
        numbers = self.dataset.numbers[indices]
        images = inputs if isinstance(inputs, np.ndarray) else joined(list(inputs))
        wanted = [(f"{place}.{t.name}", t.draws) for place, t in enumerate(self.transforms)]
        for transform, u in zip(self.transforms, random.tables(seed, "augment", wanted, number, numbers), strict=True):
            images = transform(images, u)
        return _stacked(images) if isinstance(images, list) else images


def _stacked(parts: Sequence[Any] | np.ndarray) -> Any:
    """Samples as one array, or arrays by name.

    Raises:
        DataError: their shapes differ.
    """
    if isinstance(parts, np.ndarray):
        return parts
    first = parts[0]
    if isinstance(first, Mapping):
        return {name: _stacked([p[name] for p in parts]) for name in first}
    arrays = [np.asarray(p) for p in parts]
    different = next((a for a in arrays if a.shape != arrays[0].shape), None)
    if different is not None:
        raise DataError(f"samples of shapes {arrays[0].shape} and {different.shape} cannot be one batch")
    return np.stack(arrays)

