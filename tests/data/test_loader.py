"""The loader: order, work ahead, errors, endings."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polymodel import random
from polymodel.data import ArrayDataset, Dataset, ImageFolder, Loader, RecordDataset, Subset, write_images
from polymodel.errors import ConfigError, CorruptSample, DataError

CHAIN: list[Any] = [{"random_crop": {"size": 8, "padding": 1}}, "mirror", {"rotate": {"degrees": 20}}, {"brightness": {"amount": 0.3}}]


def images(count: int = 21) -> ArrayDataset:
    x = np.random.default_rng(0).integers(0, 256, (count, 9, 9, 3), np.uint8)
    return ArrayDataset(x, np.arange(count))


def bits(batches: Iterable[Any]) -> list[bytes]:
    return [b"".join(np.asarray(part).tobytes() for part in batch) for batch in batches]


def threads() -> int:
    return sum(t.name.startswith("polymodel-data") for t in threading.enumerate())


@pytest.mark.parametrize(
    "options",
    [{"workers": 0}, {"workers": 3, "prefetch": 1}, {"workers": 2, "prefetch": 9}, {"workers": 2, "processes": True}],
    ids=["none", "threads", "more ahead", "processes"],
)
def test_batches_do_not_depend_on_workers(options: dict[str, Any]) -> None:
    make = partial(Loader, images(), 4, transforms=CHAIN, seed=5)
    with make() as one, make(**options) as other:
        for number in (0, 3):
            want = bits(one.batches(number))
            assert len(want) == len(other) == 6
            assert bits(other.batches(number)) == want
            assert bits(other.batches(number, 4)) == want[4:]
        assert bits(one.batches(1)) != want


def test_what_a_sample_becomes_does_not_depend_on_its_part() -> None:
    """Neither on the batch: parts of a data set draw what the whole draws."""
    whole = images()
    with Loader(whole, 4, transforms=CHAIN, shuffle=False) as loader:
        want = np.concatenate([x for x, _ in loader.batches(2)])
    for part in range(3):
        shard = whole.shard(3, part)
        with Loader(shard, 5, transforms=CHAIN) as loader:
            for x, y in loader.batches(2):
                np.testing.assert_array_equal(x, want[y])


def test_passes() -> None:
    data = ArrayDataset(np.arange(10.0), np.arange(10))
    loader = Loader(data, 4, workers=0)
    passes = [np.concatenate([y for _, y in loader]) for _ in range(2)]
    np.testing.assert_array_equal(passes[0], random.permutation(0, 0, 10))
    np.testing.assert_array_equal(passes[1], random.permutation(0, 1, 10))
    assert [len(y) for _, y in Loader(data, 4, drop_last=True, workers=0)] == [4, 4]
    np.testing.assert_array_equal(np.concatenate([y for _, y in Loader(data, 4, shuffle=False)]), np.arange(10))


def test_samples_of_several_inputs_and_weights() -> None:
    class Pairs:
        def __len__(self) -> int:
            return 5

        def __getitem__(self, i: int) -> Any:
            return {"a": np.float32(i), "b": np.full(2, i)}, {"y": i}, 0.5

    x, y, weight = next(iter(Loader(Pairs(), 4, shuffle=False)))
    np.testing.assert_array_equal(x["b"], [[0, 0], [1, 1], [2, 2], [3, 3]])
    assert (x["a"].dtype, y["y"].tolist(), weight.tolist()) == (np.float32, [0, 1, 2, 3], [0.5] * 4)


class Bad(Dataset):
    """Samples whose number is in `bad` cannot be read; `wrong` raises what nobody expects."""

    def __init__(self, bad: tuple[int, ...] = (), wrong: int = -1, count: int = 12) -> None:
        self.bad, self.wrong, self.count = bad, wrong, count
        self.numbers = np.arange(count)
        self.read: list[int] = []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        self.read.append(index)
        if index in self.bad:
            raise CorruptSample(self.where(index), "broken")
        if index == self.wrong:
            raise ZeroDivisionError("a bug")
        return np.float32(index), np.int64(index)

    def where(self, index: int) -> str:
        return f"place {index}"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_corrupt_sample_ends_the_pass(workers: int) -> None:
    with Loader(Bad((6,)), 4, shuffle=False, workers=workers) as loader:
        batches = loader.batches(0)
        assert next(batches)[1].tolist() == [0, 1, 2, 3]
        with pytest.raises(CorruptSample, match=r"^place 6: broken$"):
            next(batches)


@pytest.mark.parametrize("options", [{"workers": 0}, {"workers": 2}])
def test_corrupt_samples_are_skipped_and_counted(options: Any, caplog: pytest.LogCaptureFixture) -> None:
    with Loader(Bad((6, 1, 8)), 4, shuffle=False, on_error="skip", **options) as loader, caplog.at_level(logging.WARNING):
        for number in range(2):
            caplog.clear()
            found = [y.tolist() for _, y in loader.batches(number)]
            assert found == [[0, 2, 3], [4, 5, 7], [9, 10, 11]]
            assert [c.where for c in loader.skipped] == ["place 1", "place 6", "place 8"]
            (record,) = caplog.records
            assert record.getMessage() == (
                f"epoch {number + 1}: 3 of 12 samples could not be read and were skipped; the first: place 1: broken"
            )


def test_a_batch_without_a_readable_sample_is_an_error() -> None:
    loader = Loader(Bad((4, 5, 6, 7)), 4, shuffle=False, on_error="skip")
    with pytest.raises(DataError, match=r"none of the 4 samples of batch 2 can be read \(place 4: broken\)"):
        list(loader)


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_bug_is_no_corrupt_sample(on_error: Any) -> None:
    with Loader(Bad(wrong=3), 4, shuffle=False, workers=2, on_error=on_error) as loader, pytest.raises(ZeroDivisionError, match="a bug"):
        list(loader)


def test_a_transform_that_fails_names_the_sample(tmp_path: Path) -> None:
    """Images of other sizes than the crop wants."""
    (tmp_path / "a").mkdir()
    from polymodel.data.images import encode

    for i, size in enumerate((9, 9, 5)):
        (tmp_path / "a" / f"{i}.png").write_bytes(encode(np.zeros((size, 9, 3), np.uint8)))
    chain: Any = [{"random_crop": {"size": 8}}]
    with Loader(ImageFolder(tmp_path), 3, transforms=chain) as loader, pytest.raises(CorruptSample, match=r"2\.png: random_crop of 8 x 8"):
        list(loader)
    with Loader(ImageFolder(tmp_path), 3, transforms=chain, on_error="skip") as loader:
        assert next(iter(loader))[0].shape == (2, 3, 8, 8)
    with Loader(ImageFolder(tmp_path), 3) as loader, pytest.raises(DataError, match="images of different sizes cannot be one batch"):
        list(loader)


def test_an_early_break_leaves_no_work(tmp_path: Path) -> None:
    data = Bad(count=400)
    loader = Loader(data, 4, shuffle=False, workers=2, prefetch=3)
    for _ in loader:
        break
    time.sleep(0.05)
    read = len(data.read)
    assert read <= 4 * 5
    time.sleep(0.05)
    assert len(data.read) == read
    assert threads() == 2
    loader.close()
    assert threads() == 0
    assert len(list(loader)) == 100  # a closed loader starts again
    del loader
    time.sleep(0.05)
    assert threads() == 0


def test_a_pass_goes_on_by_itself(tmp_path: Path) -> None:
    """Of two passes at once each has its batches; none goes on after its loader was closed."""
    data = images()
    for processes in (False, True):
        options: dict[str, Any] = {"workers": 2, "prefetch": 1, "processes": processes}
        with Loader(data, 4, transforms=CHAIN) as plain, Loader(data, 4, transforms=CHAIN, **options) as loader:
            wanted = [bits(plain.batches(0)), bits(plain.batches(1))]
            pairs = list(zip(loader.batches(0), loader.batches(1), strict=True))
            assert [bits(column) for column in zip(*pairs, strict=True)] == wanted
    loader = Loader(data, 1, transforms=CHAIN, workers=1, prefetch=1)
    batches = loader.batches(0)
    next(batches)
    loader.close()
    with pytest.raises(DataError, match="closed in the middle of this pass"):
        list(batches)


def test_small_batches_out_of_memory_are_cut_where_they_are_used() -> None:
    data = ArrayDataset(np.zeros((40, 2**18), np.float32), np.zeros(40))

    def threads(dataset: Any, batch_size: int, **options: Any) -> int:
        with Loader(dataset, batch_size, **options) as loader:
            before = threading.active_count()
            batches = loader.batches(0)
            next(batches)
            return threading.active_count() - before

    assert threads(data, 3) == threads(data.shard(2, 1), 3) == 0
    assert threads(data, 5) == 1  # 5 MiB
    assert threads(data, 3, workers=1) == 1
    assert threads(images(), 3) == 1  # transforms
    assert threads(Bad(()), 3) == 1  # samples are read


def test_work_is_hidden() -> None:
    """A consumer as slow as the preparation waits for it only once."""

    def slow(x: np.ndarray) -> np.ndarray:
        time.sleep(0.02)
        return x

    data = ArrayDataset(np.zeros((30, 2)), np.zeros(30))
    waits = {}
    for workers in (0, 2):
        with Loader(data, 1, transforms=[slow], workers=workers) as loader:
            waited, at = 0.0, time.perf_counter()
            for i, _ in enumerate(loader):
                waited += time.perf_counter() - at if i >= 5 else 0.0
                time.sleep(0.03)
                at = time.perf_counter()
            waits[workers] = waited
    assert waits[2] < 0.5 * waits[0], waits


@pytest.mark.parametrize("anonymous", [True, False])
def test_records_with_processes(tmp_path: Path, anonymous: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not anonymous:  # a system without files that are nothing but memory
        monkeypatch.delattr("os.memfd_create")
    data = images()
    write_images(tmp_path / "a.rec", zip(data.x, data.y, strict=True))
    records = RecordDataset(tmp_path / "a.rec")
    with Loader(records, 4, transforms=CHAIN, workers=2, processes=True) as one, Loader(data, 4, transforms=CHAIN) as other:
        assert bits(one.batches(0)) == bits(other.batches(0))
        assert bits(one.batches(1)) == bits(other.batches(1))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"batch_size": 0}, "batch_size must be an integer of 1 or more"),
        ({"workers": -1}, "workers must be an integer of 0 or more"),
        ({"prefetch": True}, "prefetch must be an integer"),
        ({"on_error": "ignore"}, "on_error must be 'raise' or 'skip', received 'ignore'"),
        ({"transforms": "mirror"}, "expected a list"),
    ],
)
def test_options_that_mean_nothing(options: Any, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Loader(images(), **options)


def test_data_that_make_no_batch() -> None:
    with pytest.raises(DataError, match="3 samples make no batch of 4"):
        Loader(images(3), 4, drop_last=True)
    with pytest.raises(DataError, match="0 samples make no batch"):
        Loader(Subset(images(), np.array([], np.int64)))
    with pytest.raises(ConfigError, match="received part 3 of 3"):
        images().shard(3, 3)
    with pytest.raises(DataError, match="different numbers of samples: 3 and 2"):
        ArrayDataset(np.zeros(3), np.zeros(2))
