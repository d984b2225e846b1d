"""RecordIO, the format of MXNet's data: records in a .rec file, their places in an .idx file.

A record is stored as (dmlc-core, include/dmlc/recordio.h)

    0xced7230a                              4 bytes, little-endian as everything here
    3 bits kind, 29 bits length             0 whole record, 1 its first, 2 a middle, 3 its last part
    data, filled up with zeros to a multiple of 4 bytes

and where the first four bytes stand in the data at a multiple of 4, the record is cut there and they are left out. So a
reader that begins anywhere finds the next record. The data of a labelled record begin with a header (mxnet.recordio.IRHeader):

    uint32 flag, float32 label, uint64 id, uint64 id2       and, if flag > 0, as many float32 labels

An .idx file has a line "key<tab>offset" for each record.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, final

import numpy as np

from polymodel.errors import CorruptSample, DataError

MAGIC = struct.pack("<I", 0xCED7230A)
_HEAD = struct.Struct("<4sI")
_LABELS = struct.Struct("<IfQQ")
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_LIMIT = 1 << 29
_CHUNK = 1 << 20


class Record(NamedTuple):
    """What a labelled record holds.

    Attributes:
        label: a number, or float32 (labels,).
        content: bytes behind the header, an image file for example.
        id: number of the sample.
        id2: second number, 0 by custom.
    """

    label: float | np.ndarray
    content: bytes
    id: int = 0
    id2: int = 0


def pack(record: Record) -> bytes:
    """The bytes that mxnet.recordio.pack makes.

    Example:
        >>> unpack(pack(Record(3.0, b"image", id=7)))
        Record(label=3.0, content=b'image', id=7, id2=0)
    """
    labels = np.asarray(record.label, np.float32)
    if labels.ndim == 0:
        return _LABELS.pack(0, float(labels), record.id, record.id2) + record.content
    return _LABELS.pack(labels.size, 0.0, record.id, record.id2) + labels.astype("<f4").tobytes() + record.content


def unpack(data: bytes) -> Record:
    """What `pack` or mxnet.recordio.pack made bytes of.

    Raises:
        DataError: they are too short for the header.
    """
    if len(data) < _LABELS.size:
        raise DataError(f"a labelled record has a header of {_LABELS.size} bytes, this record has {len(data)} bytes")
    flag, label, number, second = _LABELS.unpack_from(data)
    end = _LABELS.size + 4 * flag
    if flag == 0:
        return Record(label, data[end:], number, second)
    if len(data) < end:
        raise DataError(f"the header says {flag} labels, which end at byte {end}; this record has {len(data)} bytes")
    return Record(np.frombuffer(data, "<f4", flag, _LABELS.size).astype(np.float32), data[end:], number, second)


@final
class RecordWriter:
    """Writes a .rec file, byte for byte as MXNet does; a context manager.

    Args:
        path: the .rec file, which is replaced.
        index: the .idx file; beside it when None.

    Example:
        >>> import tempfile
        >>> file = tempfile.mkdtemp() + "/a.rec"
        >>> with RecordWriter(file) as writer:
        ...     for text in (b"one", b"two"):
        ...         writer.write(text)
        >>> [bytes(data) for data in RecordReader(file)]
        [b'one', b'two']
    """

    def __init__(self, path: str | os.PathLike[str], index: str | os.PathLike[str] | None = None) -> None:
        self.path = Path(path)
        self.index = self.path.with_suffix(".idx") if index is None else Path(index)
        self.count = 0
        self._records: IO[bytes] = self.path.open("wb")
        self._lines: IO[str] = self.index.open("w", encoding="ascii")

    def write(self, data: bytes, key: int | None = None) -> None:
        """Add a record.

        Args:
            data: of less than 512 MiB.
            key: for the index; the record's number when None.

        Raises:
            DataError: it is too long for the format.
        """
        if len(data) >= _LIMIT:
            raise DataError(f"a record has less than {_LIMIT} bytes, received {len(data)}")
        self._lines.write(f"{self.count if key is None else key}\t{self._records.tell()}\n")
        self._records.write(_stored(data))
        self.count += 1

    def close(self) -> None:
        """Finish both files."""
        self._records.close()
        self._lines.close()

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _stored(data: bytes) -> bytes:
    cuts, at = [], data.find(MAGIC)
    while at >= 0:
        if at % 4 == 0:
            cuts.append(at)
        at = data.find(MAGIC, at + (4 if at % 4 == 0 else 1))
    found, begin = [], 0
    for number, cut in enumerate([*cuts, len(data)]):
        kind = _WHOLE if not cuts else _LAST if number == len(cuts) else _FIRST if number == 0 else _MIDDLE
        found += [_HEAD.pack(MAGIC, kind << 29 | (cut - begin)), data[begin:cut]]
        begin = cut + 4
    return b"".join(found) + bytes(-len(data) % 4)


@final
class RecordReader:
    """Reads the records of a .rec file, in any order and from several threads or processes.

    Args:
        path: the .rec file.
        index: the .idx file; the one beside it when None, and if there is none the file is searched for its records once.

    Raises:
        DataError: a file does not exist or the index is none.

    Attributes:
        offsets: int64 (records,), where they begin, ascending.
        keys: of the records in this order; None without an index.
    """

    def __init__(self, path: str | os.PathLike[str], index: str | os.PathLike[str] | None = None) -> None:
        self.path = Path(path)
        self._file: int | None = None
        if not self.path.is_file():
            raise DataError(f"record file {self.path} does not exist")
        self.size = self.path.stat().st_size
        beside = self.path.with_suffix(".idx")
        place = Path(index) if index is not None else beside if beside.is_file() else None
        self.keys: Sequence[int] | None = None
        if place is None:
            self.offsets = np.fromiter(self._search(), np.int64)
        else:
            self.keys, self.offsets = _index(place)

    def __len__(self) -> int:
        return len(self.offsets)

    def __iter__(self) -> Iterator[bytes]:
        return (self.read(int(offset)) for offset in self.offsets)

    def __getitem__(self, number: int) -> bytes:
        """The data of a record by its number in the file."""
        return self.read(int(self.offsets[number]))

    def by_key(self, key: int) -> bytes:
        """The data of a record by its key in the index."""
        if self.keys is None:
            raise DataError(f"{self.path} was opened without an index, so its records have no keys")
        return self[self.keys.index(key)]

    def read(self, offset: int) -> bytes:
        """The data of the record that begins at an offset.

        Raises:
            CorruptSample: there is none, or it is incomplete.
        """
        kind, data, at = self._part(offset, offset)
        if kind == _WHOLE:
            return data
        parts = [data]
        if kind != _FIRST:
            raise CorruptSample(self.where(offset), f"a record begins with a part of kind 0 or 1, found {kind}")
        while kind != _LAST:
            begin = at
            kind, data, at = self._part(begin, offset)
            if kind not in (_MIDDLE, _LAST):
                raise CorruptSample(self.where(offset), f"the record's last part is missing; at byte {begin} another one begins")
            parts.append(data)
        return MAGIC.join(parts)

    def where(self, offset: int) -> str:
        """Words for a place."""
        return f"{self.path}, byte {offset}"

    def _part(self, at: int, offset: int) -> tuple[int, bytes, int]:
        """Kind and data of a stored part, and where the next one begins."""
        kind, length = self._head(at, offset)
        begin = at + _HEAD.size
        data = self._bytes(begin, length)
        if len(data) < length:
            raise CorruptSample(
                self.where(offset), f"the record wants {length} bytes from byte {begin} on, the file ends at byte {self.size}"
            )
        return kind, data, begin + length + -length % 4

    def _head(self, at: int, offset: int) -> tuple[int, int]:
        head = self._bytes(at, _HEAD.size)
        if len(head) < _HEAD.size:
            raise CorruptSample(self.where(offset), f"expected a record at byte {at}, the file ends at byte {self.size}")
        magic, word = _HEAD.unpack(head)
        if magic != MAGIC:
            raise CorruptSample(self.where(offset), f"no record at byte {at}: expected {MAGIC.hex()}, found {magic.hex()}")
        return word >> 29, word & (_LIMIT - 1)

    def _bytes(self, begin: int, length: int) -> bytes:
        if self._file is None:
            self._file = os.open(self.path, os.O_RDONLY)
        return os.pread(self._file, length, begin)

    def _search(self) -> Iterator[int]:
        """Where records begin. Where there is none though one should be, that place counts as a record, which cannot be
        read, and the search goes on from the next one."""
        at, begin = 0, -1  # begin: of the record whose parts are being passed, -1 between records
        while at < self.size:
            try:
                kind, length = self._head(at, at)
            except CorruptSample:
                kind, length = -1, 0
            starts, follows = kind in (_WHOLE, _FIRST), at + _HEAD.size + length + -length % 4
            if begin >= 0 and (starts or kind < 0):  # its last part is missing
                yield begin
                begin = -1
                if starts:
                    continue
                at = self._next(at + 4)
            elif kind < 0 or follows > self.size or starts != (begin < 0):
                yield at if begin < 0 else begin
                at, begin = self._next(at + 4), -1
            else:
                begin = at if starts else begin
                if kind in (_WHOLE, _LAST):
                    yield begin
                    begin = -1
                at = follows
        if begin >= 0:
            yield begin

    def _next(self, at: int) -> int:
        """The next place that a record can begin at."""
        while at < self.size:
            chunk = self._bytes(at, _CHUNK)
            found = chunk.find(MAGIC)
            while found >= 0:
                head = self._bytes(at + found, _HEAD.size)
                if found % 4 == 0 and len(head) == _HEAD.size and head[7] >> 5 in (_WHOLE, _FIRST):
                    return at + found
                found = chunk.find(MAGIC, found + 1)
            at += len(chunk)
        return self.size

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_file": None}  # each process opens the file by itself

    def __del__(self) -> None:
        file = getattr(self, "_file", None)
        if file is not None:
            with suppress(OSError):
                os.close(file)


def _index(path: Path) -> tuple[list[int], np.ndarray]:
    found = []
    try:
        for number, line in enumerate(path.read_text(encoding="ascii").splitlines(), 1):
            try:
                key, offset = line.split("\t")
                found.append((int(offset), int(key)))
            except ValueError:
                raise DataError(f"{path}, line {number}: expected key<tab>offset, found {line[:80]!r}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"index {path} cannot be read: {error}") from error
    found.sort()
    return [k for _, k in found], np.array([o for o, _ in found], np.int64)
