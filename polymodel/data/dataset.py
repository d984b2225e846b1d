"""A data set: samples by number, read when they are wanted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeAlias, final

import numpy as np

from polymodel.data.foreign import as_array
from polymodel.errors import ConfigError, CorruptSample, DataError

Sample: TypeAlias = tuple[Any, ...]
"""Input, target and perhaps a weight; inputs or targets by name where there are several."""
Columns: TypeAlias = Sequence[Sequence[Any] | np.ndarray]
"""Some samples part by part: all inputs, all targets and perhaps all weights."""


class Dataset(ABC):
    """Samples that a Loader cuts into batches.

    Attributes:
        images: whether an input is a uint8 image (height, width, channels), which transforms are for.
        numbers: int64 (samples,), the place of each sample in the whole data set, from which its random numbers follow; a part of
            a data set keeps those of the whole.
        sample_bytes: of a sample that lies in memory; None where it has to be read.
    """

    images: bool = False
    numbers: np.ndarray
    sample_bytes: int | None = None

    @abstractmethod
    def __len__(self) -> int:
        """How many samples there are."""

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """One sample.

        Raises:
            CorruptSample: it cannot be read.
        """

    @abstractmethod
    def where(self, index: int) -> str:
        """Words for the place of a sample: file and offset, path, or number."""

    def columns(self, indices: Sequence[int]) -> Columns:
        """Some samples, at least one; a part is an array where it lies in one."""
        return list(zip(*(self[i] for i in indices), strict=True))

    def shard(self, num_parts: int, part_index: int) -> Subset:
        """One of several parts of nearly equal size that lie one behind the other.

        Raises:
            ConfigError: there is no such part.
        """
        check_part(num_parts, part_index)
        size = -(-len(self) // num_parts)
        return Subset(self, np.arange(len(self))[size * part_index : size * (part_index + 1)])


def check_part(num_parts: int, part_index: int) -> None:
    """Refuse a part that does not exist."""
    if num_parts < 1 or not 0 <= part_index < num_parts:
        raise ConfigError(f"part_index must be from 0 to num_parts - 1, received part {part_index} of {num_parts}")


@final
class Subset(Dataset):
    """Some samples of a data set, with their numbers in it.

    Args:
        whole: the data set.
        indices: which samples of it.
    """

    def __init__(self, whole: Dataset, indices: np.ndarray) -> None:
        self.whole, self.indices = whole, np.asarray(indices, np.int64)
        self.images, self.numbers, self.sample_bytes = whole.images, whole.numbers[self.indices], whole.sample_bytes

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        return self.whole[int(self.indices[index])]

    def where(self, index: int) -> str:
        return self.whole.where(int(self.indices[index]))

    def columns(self, indices: Sequence[int]) -> Columns:
        return self.whole.columns(self.indices[list(indices)].tolist())


@final
class ArrayDataset(Dataset):
    """Arrays in memory, for transforms and loaders.

    Args:
        x: samples along the first axis; uint8 (samples, height, width, channels) or (samples, height, width) are images.
        y: targets along the first axis.
        name: for messages.

    Raises:
        DataError: their numbers of samples differ.

    Example:
        >>> len(ArrayDataset(np.zeros((3, 28, 28), np.uint8), np.arange(3)).shard(2, 1))
        1
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, name: str = "sample") -> None:
        if len(x) != len(y):
            raise DataError(f"inputs and target have different numbers of samples: {len(x)} and {len(y)}")
        self.images = x.dtype == np.uint8 and x.ndim in (3, 4)
        self.x, self.y, self.name = x[..., None] if self.images and x.ndim == 3 else x, y, name
        self.numbers = np.arange(len(x))
        self.sample_bytes = (x.nbytes + y.nbytes) // max(len(x), 1)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Sample:
        return self.x[index], self.y[index]

    def columns(self, indices: Sequence[int]) -> Columns:
        return self.x.take(indices, axis=0), self.y.take(indices, axis=0)

    def where(self, index: int) -> str:
        return f"{self.name} {index}"


@final
class ForeignDataset(Dataset):
    """A data set of somebody else: anything with `len()` and samples (x, y) by number, a torch.utils.data.Dataset for one.

    Args:
        source: the data set. What it raises as OSError or ValueError is a corrupt sample.
    """

    def __init__(self, source: Any) -> None:
        self.source, self.numbers = source, np.arange(len(source))
        first = self[0][0] if len(source) else None
        self.images = isinstance(first, np.ndarray) and first.dtype == np.uint8 and first.ndim == 3

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        try:
            item = self.source[index]
        except (OSError, ValueError) as error:
            raise CorruptSample(self.where(index), str(error)) from error
        if not isinstance(item, tuple | list) or len(item) not in (2, 3):
            raise DataError(f"{self.where(index)}: a sample is input, target and perhaps a weight, received {type(item).__name__}")
        return tuple(as_array(part) for part in item)

    def where(self, index: int) -> str:
        return f"sample {index} of {type(self.source).__name__}"


def is_dataset(data: Any) -> bool:
    """Whether data are samples by number and not batches: torch and Gluon data sets have no iterator of their own, and what
    gives batches by number says how many (`num_batches`, Keras)."""
    if isinstance(data, Dataset):
        return True
    sized = hasattr(data, "__len__") and hasattr(data, "__getitem__")
    return sized and not hasattr(data, "__iter__") and not hasattr(data, "num_batches") and not callable(data)
