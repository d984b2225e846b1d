"""Data sets of images: RecordIO against MXNet's ImageRecordIter, folders, IDX files."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polymodel.data import ArrayDataset, ImageFolder, RecordDataset, fashion_mnist, mnist, read_idx, write_images
from polymodel.data.images import encode
from polymodel.errors import ConfigError, CorruptSample, DataError
from tests.installed import installed


def pictures(count: int, size: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)


@pytest.mark.parametrize("label", [1.5, 1e30, float("inf"), float("nan"), np.array([2.0, 1e30], np.float32)], ids=str)
def test_what_is_no_class_is_refused(label: float | np.ndarray) -> None:
    from polymodel.data.labels import as_label

    with pytest.raises(DataError, match="is no class: expected a whole number below"):
        as_label(label, "int")


@pytest.mark.parametrize("label", [3.0, -1.0, 2.0**40, np.array([7.0], np.float32)], ids=str)
def test_a_class_is_a_whole_number(label: float | np.ndarray) -> None:
    from polymodel.data.labels import as_label

    found = as_label(label, "int")
    assert (found.shape, found.dtype, int(found)) == ((), np.int64, int(np.asarray(label).reshape(())))


def labels_of(dataset: RecordDataset) -> list[int]:
    return [int(dataset[i][1]) for i in range(len(dataset))]


# -- RecordIO --------------------------------------------------------------------------------------------------------


def test_image_record_iter_reads_the_same(tmp_path: Path) -> None:
    installed("mxnet")
    import mxnet as mx

    images = pictures(10)
    write_images(tmp_path / "a.rec", zip(images, range(10), strict=True))
    it = mx.io.ImageRecordIter(
        path_imgrec=str(tmp_path / "a.rec"), data_shape=(3, 12, 12), batch_size=5, shuffle=False, preprocess_threads=1,
    )
    x = np.concatenate([b.data[0].asnumpy() for b in it])
    dataset = RecordDataset(tmp_path / "a.rec")
    for i, (image, label) in enumerate(dataset):  # type: ignore[arg-type, var-annotated]
        assert (label, label.dtype) == (i, np.int64)
        np.testing.assert_array_equal(image, images[i])
        np.testing.assert_array_equal(image.transpose(2, 0, 1), x[i])


@pytest.mark.parametrize("num_parts", [1, 2, 3, 7])
@pytest.mark.parametrize("indexed", [True, False])
def test_parts_are_those_of_image_record_iter(tmp_path: Path, num_parts: int, indexed: bool) -> None:
    """By records with an index, by bytes without; records have different sizes."""
    installed("mxnet")
    import mxnet as mx

    images = [np.full((4 + i % 9, 6, 3), i, np.uint8) if i % 3 else pictures(1, 20, i)[0] for i in range(40)]
    write_images(tmp_path / "a.rec", zip(images, range(40), strict=True))
    seen = []
    for part in range(num_parts):
        more = {"path_imgidx": str(tmp_path / "a.idx")} if indexed else {}
        it = mx.io.ImageRecordIter(
            path_imgrec=str(tmp_path / "a.rec"), data_shape=(3, 8, 8), resize=8, batch_size=1, shuffle=False,
            preprocess_threads=1, num_parts=num_parts, part_index=part, round_batch=False, **more,
        )
        theirs = [int(b.label[0].asnumpy()[0]) for b in it]
        ours = RecordDataset(tmp_path / "a.rec", num_parts=num_parts, part_index=part, by_bytes=not indexed)
        assert labels_of(ours) == theirs
        assert ours.numbers.tolist() == theirs
        seen += theirs
    assert seen == list(range(40))


def test_several_files_and_labels(tmp_path: Path) -> None:
    images = pictures(6)
    write_images(tmp_path / "a-0.rec", zip(images[:4], np.eye(4, 2, dtype=np.float32), strict=True))
    write_images(tmp_path / "a-1.rec", zip(images[4:], [1.5, 2.5], strict=True), "JPEG", 80)
    dataset = RecordDataset(str(tmp_path / "a-*.rec"), labels="float", channels=1)
    assert len(dataset) == 6
    assert dataset[0][0].shape == (12, 12, 1)
    np.testing.assert_array_equal(dataset[1][1], [0, 1])
    assert (dataset[5][1], dataset[5][1].dtype) == (2.5, np.float32)
    again = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(again[4][0], dataset[4][0])
    part = RecordDataset([tmp_path / "a-0.rec", tmp_path / "a-1.rec"], labels="float", num_parts=2, part_index=1)
    assert part.numbers.tolist() == [3, 4, 5]
    with pytest.raises(CorruptSample, match=rf"{tmp_path / 'a-1.rec'}, byte 0: the label 1.5 is no class"):
        RecordDataset(tmp_path / "a-1.rec")[0]


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    write_images(tmp_path / "a.rec", zip(pictures(3), range(3), strict=True))
    dataset = RecordDataset(tmp_path / "a.rec")
    offset = int(dataset.readers[0].offsets[1])
    content = bytearray((tmp_path / "a.rec").read_bytes())
    content[offset + 80 : offset + 120] = bytes(40)
    (tmp_path / "a.rec").write_bytes(content)
    with pytest.raises(CorruptSample, match=rf"a\.rec, byte {offset}: no image of \d+ bytes can be read"):
        RecordDataset(tmp_path / "a.rec")[1]
    assert RecordDataset(tmp_path / "a.rec")[2][1] == 2


def test_records_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file matches"):
        RecordDataset(str(tmp_path / "*.rec"))
    write_images(tmp_path / "a.rec", [])
    with pytest.raises(DataError, match=r"a\.rec: there is no record"):
        RecordDataset(tmp_path / "a.rec")
    write_images(tmp_path / "a.rec", zip(pictures(3), range(3), strict=True))
    with pytest.raises(ConfigError, match="received part 2 of 2"):
        RecordDataset(tmp_path / "a.rec", num_parts=2, part_index=2)
    with pytest.raises(ConfigError, match="1 record files have 2 index files"):
        RecordDataset(tmp_path / "a.rec", ["a.idx", "b.idx"])
    with pytest.raises(ConfigError, match="channels must be 1"):
        RecordDataset(tmp_path / "a.rec", channels=2)


# -- folders ---------------------------------------------------------------------------------------------------------


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    images = pictures(3)
    for name, image in zip(("dog/b.png", "cat/deep/a.PNG", "dog/a.png"), images, strict=True):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(encode(image))
    (tmp_path / "dog" / "notes.txt").write_text("no image")
    dataset = ImageFolder(tmp_path)
    assert dataset.classes == ["cat", "dog"]
    assert [int(label) for _, label in (dataset[i] for i in range(3))] == [0, 1, 1]
    np.testing.assert_array_equal(dataset[1][0], images[2])
    assert dataset.where(1) == str(tmp_path / "dog" / "a.png")
    (tmp_path / "dog" / "a.png").write_bytes(encode(images[0])[:-30])
    with pytest.raises(CorruptSample, match=r"dog/a\.png: no image of \d+ bytes"):
        dataset[1]
    (tmp_path / "fish").mkdir()
    with pytest.raises(DataError, match="fish holds no image"):
        ImageFolder(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        ImageFolder(tmp_path / "none")
    with pytest.raises(DataError, match="holds no folder"):
        ImageFolder(tmp_path / "fish")


# -- IDX -------------------------------------------------------------------------------------------------------------


def idx(array: np.ndarray, code: int) -> bytes:
    return bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.mark.parametrize(("dtype", "code"), [("u1", 8), ("i1", 9), (">i2", 11), (">i4", 12), (">f4", 13), (">f8", 14)])
@pytest.mark.parametrize("packed", [True, False])
def test_idx_files_of_every_type(tmp_path: Path, dtype: str, code: int, packed: bool) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    content = idx(array, code)
    (tmp_path / "a").write_bytes(gzip.compress(content) if packed else content)
    found = read_idx(tmp_path / "a")
    assert found.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda c: c[:-2], "a, byte 18: the file ends; an array of .2, 4. uint8 ends at byte 20"),
        (lambda c: b"PNG!" + c, "byte 0: no IDX file: expected two zero bytes and a type, found 504e4721"),
        (lambda c: gzip.compress(c)[:-9], "byte 0: cannot be read"),
        (lambda c: c[:5], "byte 5: the file ends"),
    ],
)
def test_idx_files_that_are_damaged(tmp_path: Path, change: Any, match: str) -> None:
    (tmp_path / "a").write_bytes(change(idx(np.zeros((2, 4), np.uint8), 8)))
    with pytest.raises(CorruptSample, match=match):
        read_idx(tmp_path / "a")


def test_mnist_and_its_successors(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(images, 8))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.arange(5, dtype=np.uint8), 8)))
    for found in (mnist("test", tmp_path), fashion_mnist("test", tmp_path)):
        assert isinstance(found, ArrayDataset)
        assert (found.x.shape, found.y.dtype) == ((5, 28, 28, 1), np.int64)
        np.testing.assert_array_equal(found[3][0][..., 0], images[3])
    with pytest.raises(DataError, match="train-images-idx3-ubyte does not exist"):
        mnist("train", tmp_path)
    with pytest.raises(DataError, match="the parts are train and test, received 'validation'"):
        mnist("validation", tmp_path)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="apt-get install dataset-fashion-mnist"):
        fashion_mnist("train", tmp_path / "none")
