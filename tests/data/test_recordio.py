"""RecordIO, both ways against MXNet's own reader and writer."""

from __future__ import annotations

import pickle
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polymodel.data import Record, RecordReader, RecordWriter, pack, unpack
from polymodel.data.recordio import MAGIC
from polymodel.errors import CorruptSample, DataError
from tests.installed import installed

RECORDS = [
    b"",
    b"a",
    b"abcd",
    b"abcde" * 7,
    MAGIC,
    b"x" + MAGIC + b"y",  # at no multiple of 4: not cut
    b"four" + MAGIC + b"more",
    MAGIC + MAGIC,
    b"four" + MAGIC + MAGIC + b"between" + b"z" + MAGIC + b"rest!",
    MAGIC[:2] + MAGIC + MAGIC[2:],
    np.random.default_rng(0).bytes(5003),
]


@pytest.fixture
def mx() -> Any:
    installed("mxnet")
    import mxnet

    return mxnet


def write(path: Path, records: list[bytes]) -> Path:
    with RecordWriter(path) as writer:
        for data in records:
            writer.write(data)
    return path


def test_a_file_is_byte_for_byte_that_of_mxnet(tmp_path: Path, mx: Any) -> None:
    write(tmp_path / "ours.rec", RECORDS)
    theirs = mx.recordio.MXIndexedRecordIO(str(tmp_path / "theirs.idx"), str(tmp_path / "theirs.rec"), "w")
    for key, data in enumerate(RECORDS):
        theirs.write_idx(key, data)
    theirs.close()
    for end in (".rec", ".idx"):
        assert (tmp_path / f"ours{end}").read_bytes() == (tmp_path / f"theirs{end}").read_bytes()


def test_mxnet_reads_ours_and_we_read_its(tmp_path: Path, mx: Any) -> None:
    write(tmp_path / "ours.rec", RECORDS)
    reader = mx.recordio.MXRecordIO(str(tmp_path / "ours.rec"), "r")
    assert [reader.read() for _ in RECORDS] == RECORDS
    assert reader.read() is None
    indexed = mx.recordio.MXIndexedRecordIO(str(tmp_path / "ours.idx"), str(tmp_path / "ours.rec"), "r")
    assert indexed.read_idx(8) == RECORDS[8]
    writer = mx.recordio.MXRecordIO(str(tmp_path / "theirs.rec"), "w")
    for data in RECORDS:
        writer.write(data)
    writer.close()
    assert list(RecordReader(tmp_path / "theirs.rec")) == RECORDS


@pytest.mark.filterwarnings("ignore:tostring:DeprecationWarning")  # MXNet 1.9.1 calls it
@pytest.mark.parametrize("label", [3.0, -2.5, np.array([1, 2.5, 3], np.float32), np.array([4], np.float32)])
def test_headers_are_those_of_mxnet(label: Any, mx: Any) -> None:
    header = mx.recordio.IRHeader(0, label, 7, 2**40)
    ours, theirs = pack(Record(label, b"content", 7, 2**40)), mx.recordio.pack(header, b"content")
    assert ours == theirs
    found = unpack(theirs)
    np.testing.assert_array_equal(found.label, label)
    assert (found.content, found.id, found.id2) == (b"content", 7, 2**40)


def test_records_are_found_without_an_index(tmp_path: Path) -> None:
    path = write(tmp_path / "a.rec", RECORDS)
    indexed = RecordReader(path)
    (tmp_path / "a.idx").unlink()
    found = RecordReader(path)
    assert found.keys is None
    assert found.offsets.tolist() == indexed.offsets.tolist()
    assert list(found) == RECORDS
    with pytest.raises(DataError, match="without an index"):
        found.by_key(0)


def test_keys(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "a.rec", tmp_path / "b.idx") as writer:
        for key, data in ((5, b"five"), (2, b"two")):
            writer.write(data, key)
    reader = RecordReader(tmp_path / "a.rec", tmp_path / "b.idx")
    assert (reader.by_key(2), reader.by_key(5), reader[0]) == (b"two", b"five", b"five")


def test_a_reader_is_read_by_threads_and_goes_to_other_processes(tmp_path: Path) -> None:
    reader = RecordReader(write(tmp_path / "a.rec", RECORDS * 20))
    assert pickle.loads(pickle.dumps(reader))[3] == RECORDS[3]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(reader.__getitem__, range(len(reader)))) == RECORDS * 20


def damaged(tmp_path: Path, records: list[bytes], at: int, by: bytes) -> Path:
    path = write(tmp_path / "a.rec", records)
    content = bytearray(path.read_bytes())
    content[at : at + len(by)] = by
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("indexed", [True, False])
def test_a_destroyed_beginning(tmp_path: Path, indexed: bool) -> None:
    """It is named with file and offset; the others are read, with an index or without."""
    path = damaged(tmp_path, [b"one1", b"two2", b"three"], 12, b"\0\0\0\0")
    if not indexed:
        (tmp_path / "a.idx").unlink()
    reader = RecordReader(path)
    assert reader.offsets.tolist() == [0, 12, 24]
    assert (reader[0], reader[2]) == (b"one1", b"three")
    with pytest.raises(CorruptSample, match=rf"{path}, byte 12: no record at byte 12: expected 0a23d7ce, found 00000000"):
        reader[1]


def test_a_cut_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.rec", [b"one1", b"two2" * 5])
    path.write_bytes(path.read_bytes()[:-3])
    for _ in range(2):
        reader = RecordReader(path)
        assert reader[0] == b"one1"
        with pytest.raises(CorruptSample, match="byte 12: the record wants 20 bytes from byte 20 on, the file ends at byte 37"):
            reader[1]
        (tmp_path / "a.idx").unlink(missing_ok=True)
    (tmp_path / "a.idx").write_text("0\t0\n1\t4000\n")
    with pytest.raises(CorruptSample, match="byte 4000: expected a record at byte 4000, the file ends"):
        RecordReader(path)[1]


def test_a_record_whose_last_part_is_missing(tmp_path: Path) -> None:
    parts = b"four" + MAGIC + b"more"
    path = write(tmp_path / "a.rec", [b"zero", parts, b"next"])
    content = path.read_bytes()
    path.write_bytes(content[:24] + content[36:])
    (tmp_path / "a.idx").unlink()
    reader = RecordReader(path)
    assert (reader.offsets.tolist(), reader[0], reader[2]) == ([0, 12, 24], b"zero", b"next")
    with pytest.raises(CorruptSample, match="byte 12: the record's last part is missing; at byte 24 another one begins"):
        reader[1]
    path.write_bytes(content[:12] + content[24:])
    reader = RecordReader(path)
    with pytest.raises(CorruptSample, match="a record begins with a part of kind 0 or 1, found 3"):
        reader[1]
    assert reader[2] == b"next"
    path.write_bytes(content[:24])
    assert RecordReader(path).offsets.tolist() == [0, 12]


@pytest.mark.parametrize(
    ("data", "match"),
    [(b"short", "header of 24 bytes, this record has 5"), (struct.pack("<IfQQ", 3, 0, 0, 0) + b"xx", "says 3 labels.* 26 bytes")],
)
def test_a_header_that_is_none(data: bytes, match: str) -> None:
    with pytest.raises(DataError, match=match):
        unpack(data)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.rec does not exist"):
        RecordReader(tmp_path / "a.rec")
    write(tmp_path / "a.rec", [b"x"])
    (tmp_path / "a.idx").write_text("0\t0\n1 12\n")
    with pytest.raises(DataError, match=r"a\.idx, line 2: expected key<tab>offset, found '1 12'"):
        RecordReader(tmp_path / "a.rec")
    with RecordWriter(tmp_path / "b.rec") as writer, pytest.raises(DataError, match="less than 536870912 bytes"):
        writer.write(bytes(1 << 29))
