"""Images in RecordIO files, as MXNet's im2rec writes and its ImageRecordIter reads them."""

from __future__ import annotations

import bisect
import os
from collections.abc import Iterable, Sequence
from glob import glob
from typing import Literal, TypeAlias, final

import numpy as np

from polymodel.data.dataset import Dataset, Sample, check_part
from polymodel.data.images import check_channels, decode, encode
from polymodel.data.labels import as_label
from polymodel.data.recordio import Record, RecordReader, RecordWriter, pack, unpack
from polymodel.errors import ConfigError, CorruptSample, DataError

Paths: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@final
class RecordDataset(Dataset):
    """Labelled images of one or more .rec files.

    Args:
        path: a file, a pattern with wildcards, or several.
        index: .idx file of each; those beside the files when None, and a file that has none is searched for its records.
        num_parts: parts that the records are cut into; every worker reads one, as ImageRecordIter has it.
        part_index: which part, from 0. With an index parts have equally many records (of one behind the other), else equally
            many bytes.
        channels: 1 for grey, 3 for RGB, 4 for RGBA.
        labels: "int" for classes, "float" for numbers.
        by_bytes: parts of equally many bytes although there is an index, which is what ImageRecordIter does without
            path_imgidx.

    Raises:
        DataError: a file does not exist, or there is no record.
        ConfigError: there is no such part.
    """

    images = True

    def __init__(
        self,
        path: Paths,
        index: Paths | None = None,
        *,
        num_parts: int = 1,
        part_index: int = 0,
        channels: int = 3,
        labels: Literal["int", "float"] = "int",
        by_bytes: bool = False,
    ) -> None:
        check_channels(channels)
        check_part(num_parts, part_index)
        paths, indices = _paths(path), [None] if index is None else _paths(index)
        if index is not None and len(indices) != len(paths):
            raise ConfigError(f"{len(paths)} record files have {len(indices)} index files: give one for each, or none")
        self.readers = [RecordReader(p, i) for p, i in zip(paths, indices * len(paths) if index is None else indices, strict=True)]
        self.begins = np.cumsum([0, *(len(r) for r in self.readers)]).tolist()
        self.channels, self.labels = channels, labels
        self.numbers = np.arange(self.begins[-1])
        if not len(self.numbers):
            raise DataError(f"{', '.join(map(str, paths))}: there is no record")
        if by_bytes or any(r.keys is None for r in self.readers):
            self.numbers = self.numbers[_by_bytes(self.readers, num_parts) == part_index]
        else:
            size = -(-len(self.numbers) // num_parts)
            self.numbers = self.numbers[size * part_index : size * (part_index + 1)]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Sample:
        reader, offset = self._place(index)
        try:
            record = unpack(reader.read(offset))
            label = as_label(record.label, self.labels)
        except CorruptSample:
            raise
        except DataError as error:
            raise CorruptSample(reader.where(offset), str(error)) from None
        return decode(record.content, self.channels, reader.where(offset)), label

    def where(self, index: int) -> str:
        reader, offset = self._place(index)
        return reader.where(offset)

    def _place(self, index: int) -> tuple[RecordReader, int]:
        number = int(self.numbers[index])
        file = bisect.bisect_right(self.begins, number) - 1
        reader = self.readers[file]
        return reader, int(reader.offsets[number - self.begins[file]])


def write_images(
    path: str | os.PathLike[str],
    samples: Iterable[tuple[np.ndarray, float | np.ndarray]],
    kind: Literal["PNG", "JPEG"] = "PNG",
    quality: int = 95,
) -> int:
    """Write images with their labels as a .rec and an .idx file, which MXNet reads too.

    Args:
        path: the .rec file.
        samples: pairs of uint8 (height, width, channels), grey or RGB, and a label or several.
        kind: of the image files inside.
        quality: of JPEG, 1 to 95.

    Returns:
        How many.
    """
    with RecordWriter(path) as writer:
        for number, (image, label) in enumerate(samples):
            writer.write(pack(Record(label, encode(image, kind, quality), number)))
        return writer.count


def _paths(path: Paths) -> list[str]:
    found = []
    for item in [path] if isinstance(path, str | os.PathLike) else path:
        text = os.fspath(item)
        matches = sorted(glob(text)) if any(c in text for c in "*?[") else [text]
        if not matches:
            raise DataError(f"no file matches {text}")
        found += matches
    return found


def _by_bytes(readers: Sequence[RecordReader], num_parts: int) -> np.ndarray:
    """The part of every record where parts have equally many bytes (dmlc-core, src/io/input_split_base.cc): that in which its
    first byte lies, rounded up to a multiple of 4."""
    begins = np.cumsum([0, *(r.size for r in readers)])
    offsets = np.concatenate([r.offsets + b for r, b in zip(readers, begins[:-1], strict=True)])
    step = -(-int(begins[-1]) // num_parts)
    parts: np.ndarray = offsets // (-(-step // 4) * 4)
    return parts
