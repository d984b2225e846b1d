"""Samples, batches, splits, and the files and data sets they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polymodel as pm
from polymodel.config import sources
from polymodel.data import Samples, split
from polymodel.errors import ConfigError, DataError, ShapeError

SPEC = {"x": pm.TensorSpec(("batch", 2, 2))}
LABELS = pm.TensorSpec(("batch",), "int64")


@pytest.fixture
def samples() -> Samples:
    model = pm.Model(pm.nn.Linear(2, 3), {"x": pm.TensorSpec(("batch", 2))}, ["y"])
    return Samples.of(model.graph, np.arange(20, dtype=np.float32).reshape(10, 2))


def test_batches_hold_everything_once(samples: Samples) -> None:
    order = np.random.default_rng(0).permutation(10)
    batches = [b["x"] for b in samples.batches(4, order)]
    assert [len(b) for b in batches] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate(batches), samples.arrays["x"][order])
    later = [b["x"] for b in samples.batches(4, order, start=1)]
    assert all(a.tobytes() == b.tobytes() for a, b in zip(later, batches[1:], strict=True))
    assert samples.batch_count(4) == 3


def test_batches_in_the_given_order_are_not_copied(samples: Samples) -> None:
    assert all(np.shares_memory(b["x"], samples.arrays["x"]) for b in samples.batches(4))


def test_a_model_of_a_fixed_batch_size() -> None:
    model = pm.Model(pm.nn.Linear(2, 3), {"x": pm.TensorSpec((4, 2))}, ["y"])
    found = Samples.of(model.graph, np.zeros((8, 2), np.float32))
    assert [b["x"].shape for b in found.batches(4)] == [(4, 2), (4, 2)]
    with pytest.raises(ShapeError, match="received shape"):
        Samples.of(model.graph, np.zeros((8, 3), np.float32))


def test_a_split_is_a_partition_that_depends_on_seed_and_name() -> None:
    x, y = np.arange(50).reshape(50, 1), np.arange(50)
    (rest, rest_y), (aside, aside_y) = split((x, y), 0.2, 7, "test")
    assert isinstance(aside, np.ndarray)
    assert isinstance(rest, np.ndarray)
    assert sorted([*rest_y, *aside_y]) == list(range(50))
    assert len(aside_y) == 10
    np.testing.assert_array_equal(aside[:, 0], aside_y)
    assert split((x, y), 0.2, 7, "test")[1][1].tobytes() == aside_y.tobytes()
    assert split((x, y), 0.2, 7, "validation")[1][1].tobytes() != aside_y.tobytes()
    assert split((x, y), 0.2, 8, "test")[1][1].tobytes() != aside_y.tobytes()


@pytest.mark.parametrize(("share", "error"), [(0.0, ConfigError), (1.0, ConfigError), (0.001, DataError)])
def test_an_impossible_split(share: float, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"share|neither may be 0"):
        split((np.zeros((10, 1)), np.zeros(10)), share, 0, "test")


# -- sources ---------------------------------------------------------------------------------------------------------


def test_digits() -> None:
    inputs, y = sources.read("sklearn:digits", {"x": pm.TensorSpec(("n", 1, 8, 8))}, "target", LABELS, scale=1 / 16)
    assert isinstance(inputs, dict)
    x = inputs["x"]
    assert (x.shape, x.dtype, x.min(), x.max()) == ((1797, 1, 8, 8), np.float32, 0.0, 1.0)
    assert (y.dtype, y.min(), y.max()) == (np.int64, 0, 9)


def test_an_npz_file(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).standard_normal((5, 2, 2)).astype(np.float32), np.arange(5)
    np.savez(tmp_path / "a.npz", x=x, label=y)
    found, labels = sources.read(str(tmp_path / "a.npz"), SPEC, "label", LABELS)
    assert isinstance(found, dict)
    assert found["x"].tobytes() == x.tobytes()
    assert labels.tobytes() == y.tobytes()
    with pytest.raises(DataError, match="has no array 'target'; it has x, label"):
        sources.read(str(tmp_path / "a.npz"), SPEC, "target", LABELS)


def test_a_csv_file(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("a,b,kind,c,d\n1,2,0,3,4\n5,6,1,7,8.5\n")
    found, labels = sources.read(str(file), SPEC, "kind", LABELS, scale=2.0)
    assert isinstance(found, dict)
    np.testing.assert_array_equal(found["x"], np.array([[[2, 4], [6, 8]], [[10, 12], [14, 17]]], np.float32))
    np.testing.assert_array_equal(labels, [0, 1])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a,b\n1,2\n", "no column 'kind'; it has a, b"),
        ("a,kind\n", "the data set is empty"),
        ("", "no column 'kind'; it has none"),
        ("a,kind\n1,2,3\n", "line 2: 3 fields, the header has 2"),
        ("a,kind\n1,x\n", "line 2: could not convert"),
        ("a,kind\n1,0\n", "1 features, which do not fill input 'x'"),
        ("a,b,c,d,kind\n1,2,3,4,0.5\n", "wants int64 labels, the target column has fractions"),
    ],
)
def test_a_csv_file_that_does_not_fit(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=match):
        sources.read(str(tmp_path / "a.csv"), SPEC, "kind", LABELS)


@pytest.mark.parametrize(
    ("source", "match"),
    [("missing.npz", "does not exist"), ("sklearn:digit", "known are .*digits"), (__file__, "of no known kind")],
)
def test_a_source_that_is_none(source: str, match: str) -> None:
    with pytest.raises(DataError, match=match):
        sources.read(source, SPEC, "target", LABELS)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"\x80\x04\x95 a pickle"])
def test_a_damaged_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as NumPy arrays"):
        sources.read(str(tmp_path / "a.npz"), SPEC, "target", LABELS)


def test_an_archive_of_objects_is_not_unpickled(tmp_path: Path) -> None:
    objects: Any = np.array([{"a": 1}], dtype=object)
    np.savez(tmp_path / "a.npz", x=objects, target=objects)
    with pytest.raises(DataError, match="cannot be read"):
        sources.read(str(tmp_path / "a.npz"), SPEC, "target", LABELS)
