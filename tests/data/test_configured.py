"""The data of a configuration: every kind trains, is evaluated, and is refused where it is wrong."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polymodel.config import file as config_file
from polymodel.config.experiment import Splits, build_data, build_model, build_trainer
from polymodel.config.run import check
from polymodel.data import Loader, write_images
from polymodel.data.images import encode
from polymodel.errors import ConfigError, CorruptSample, DataError
from tests.installed import NAMES, installed

CHAIN = [{"random_crop": {"size": 28, "padding": 2}}, "mirror"]
MODEL = {"name": "lenet"}


def pictures(count: int = 40, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Pictures whose brightness is their class."""
    rng = np.random.default_rng(0)
    y = np.arange(count) % 10
    x = (rng.integers(0, 25, (count, 28, 28, channels)) + 23 * y[:, None, None, None]).astype(np.uint8)
    return x, y


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The same pictures as records, folders, IDX files and arrays."""
    x, y = pictures()
    write_images(tmp_path / "a.rec", zip(x, y, strict=True))
    for i, (image, label) in enumerate(zip(x, y, strict=True)):
        (tmp_path / "folder" / str(label)).mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / str(label) / f"{i:03}.png").write_bytes(encode(image))
    (tmp_path / "idx").mkdir()
    for part in ("train", "t10k"):
        head = struct.pack(">4B3I", 0, 0, 8, 3, 40, 28, 28)
        (tmp_path / "idx" / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + x.tobytes()))
        (tmp_path / "idx" / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, 40) + y.astype(np.uint8).tobytes())
    np.savez(tmp_path / "a.npz", x=x, target=y)
    return tmp_path


def splits(work: Path, data: Any, **more: Any) -> tuple[Any, Splits]:
    config = config_file.absolute(check({"model": MODEL, "data": data, "batch_size": 8, **more}), work)
    return config, build_data(config, build_model(config))


def samples(data: Any) -> tuple[np.ndarray, np.ndarray]:
    """All inputs and targets in their order."""
    if isinstance(data, Loader):
        parts = list(data.batches(0, shuffle=False))
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
    x, y = data
    return (next(iter(x.values())) if isinstance(x, dict) else x), y


FORMS: list[Any] = [
    {"source": "a.rec"},
    {"kind": "record", "path": ["a.rec"], "index": ["a.idx"], "transforms": []},
    {"path": "*.rec", "kind": "record", "workers": 2},
    {"source": "folder"},
    {"kind": "folder", "path": "folder"},
    {"source": "mnist:train", "path": "idx"},
    {"source": "fashion_mnist:test", "path": "idx", "transforms": []},
    {"source": "a.npz", "transforms": []},
]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_kind_gives_the_same_pictures(work: Path, form: Any) -> None:
    _, found = splits(work, form)
    x, y = samples(found.train)
    want, labels = pictures()
    order = np.argsort(labels, kind="stable") if "folder" in str(form) else np.arange(40)
    np.testing.assert_array_equal(y, labels[order])
    assert y.dtype == np.int64
    np.testing.assert_array_equal(x, (want[order] / 255.0).astype(np.float32).transpose(0, 3, 1, 2))


@pytest.mark.parametrize("backend", NAMES)
@pytest.mark.parametrize("form", [{"source": "a.rec", "transforms": CHAIN}, {"source": "mnist:train", "path": "idx"}], ids=str)
def test_a_configuration_trains(work: Path, form: Any, backend: str) -> None:
    """And evaluates on what was set aside, which is the same on every backend."""
    data = {**form, "validation": 0.25, "test": {**form, "transforms": []} if "transforms" in form else "mnist:test"}
    if "path" in form:
        data["test"] = {"source": "mnist:test", "path": "idx"}
    config, found = splits(work, data)
    trainer = build_trainer(config, build_model(config), installed(backend), "cpu")
    trainer.fit(found.train, epochs=2, validation=found.validation, batch_size=8, progress=False)
    assert len(trainer.history) == 2
    assert np.isfinite(trainer.evaluate(found.test)["loss"])
    assert trainer.step == 2 * 4


def test_what_is_held_out_has_no_random_transforms(work: Path) -> None:
    _, found = splits(work, {"source": "a.rec", "transforms": CHAIN, "validation": 0.25, "test": "folder"})
    for held, count in ((found.validation, 10), (found.test, 40)):
        assert isinstance(held, Loader)
        assert [t.name for t in held.transforms] == ["center_crop", "normalize"]
        assert (len(held.dataset), held.shuffle) == (count, False)
    assert isinstance(found.train, Loader)
    assert isinstance(found.validation, Loader)
    assert [t.name for t in found.train.transforms] == ["random_crop", "mirror", "normalize"]
    assert sorted([*found.train.dataset.numbers, *found.validation.dataset.numbers]) == list(range(40))
    own = {"source": "a.rec", "transforms": [{"normalize": {"mean": 0.5}}], "on_error": "skip"}
    _, found = splits(work, {"source": "a.rec", "transforms": CHAIN, "validation": own})
    assert isinstance(found.validation, Loader)
    assert found.validation.transforms[0].mean == (0.5,)  # type: ignore[attr-defined]


def test_parts_of_records(work: Path) -> None:
    seen = []
    for part in range(3):
        _, found = splits(work, {"source": "a.rec", "num_parts": 3, "part_index": part})
        assert isinstance(found.train, Loader)
        seen += found.train.dataset.numbers.tolist()
    assert seen == list(range(40))


def test_a_configuration_is_written_and_read_again(work: Path) -> None:
    data = {"source": "a.rec", "transforms": CHAIN, "validation": {"path": "folder", "kind": "folder"}, "test": "fashion_mnist:test"}
    (work / "a.yaml").write_text(config_file.dump(check({"model": MODEL, "data": data})))
    config = config_file.read(work / "a.yaml")
    assert config.data.source == str(work / "a.rec")
    assert config.data.validation.path == str(work / "folder")
    assert config.data.test == "fashion_mnist:test"
    (work / "b.yaml").write_text(config_file.dump(config))
    assert config_file.read(work / "b.yaml") == config


def test_corrupt_rows(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.csv").write_text("a,b,kind\n1,2,0\n1,x,1\n3,4\n5,6,1\n")
    (tmp_path / "net.py").write_text(
        "import polymodel as pm\n\ndef build(seed):\n"
        "    return pm.Model(pm.nn.Linear(2, 2), {'x': pm.TensorSpec(('batch', 2))}, ['y'], seed=seed)\n"
    )
    model = {"factory": str(tmp_path / "net.py") + ":build"}
    data = {"source": "a.csv", "target": "kind"}
    with pytest.raises(CorruptSample, match=r"a\.csv, line 3: could not convert string to float: 'x'"):
        splits(tmp_path, data, model=model)
    _, found = splits(tmp_path, {**data, "on_error": "skip"}, model=model)
    np.testing.assert_array_equal(samples(found.train)[0], [[1, 2], [5, 6]])
    first = f"{tmp_path / 'a.csv'}, line 3: could not convert string to float: 'x'"
    assert caplog.messages == [f"2 rows of {tmp_path / 'a.csv'} could not be read and were skipped; the first: {first}"]


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_corrupt_records(work: Path, on_error: str, caplog: pytest.LogCaptureFixture) -> None:
    content = bytearray((work / "a.rec").read_bytes())
    content[40:60] = bytes(20)
    (work / "a.rec").write_bytes(content)
    config, found = splits(work, {"source": "a.rec", "on_error": on_error})
    trainer = build_trainer(config, build_model(config), "torch", "cpu")
    if on_error == "raise":
        with pytest.raises(CorruptSample, match=r"a\.rec, byte 0: no image of"):
            trainer.fit(found.train, epochs=1, progress=False)
        return
    trainer.fit(found.train, epochs=2, progress=False)
    assert len(caplog.messages) == 2
    assert caplog.messages[1].startswith("epoch 2: 1 of 40 samples could not be read and were skipped; the first: ")


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ({}, r"data\.source: missing; name a source, or a path with its kind"),
        ({"source": "a.rec", "path": "b.rec"}, r"data\.path: source 'a\.rec' is a path already"),
        ({"source": "a.rec", "transform": []}, r"data\.transform: unknown key; did you mean 'transforms'"),
        ({"source": "a.rec", "transforms": ["miror"]}, r"data\.transforms.*unknown name 'miror'; did you mean 'mirror'"),
        ({"source": "a.rec", "transforms": [{"rotate": {"degres": 3}}]}, "did you mean 'degrees'"),
        ({"source": "a.rec", "num_parts": 2, "part_index": 2}, "part_index: there are parts 0 to 1, received 2"),
        ({"source": "a.rec", "on_error": "ignore"}, r"data\.on_error: expected 'raise' or 'skip', received 'ignore'"),
        ({"source": "a.rec", "kind": "recordio"}, r"data\.kind: expected .*'record'"),
        ({"source": "a.rec", "validation": {"source": "a.rec", "batch": 3}}, r"data\.validation: batch: unknown key"),
        ({"source": "a.rec", "validation": {}}, r"data\.validation: source: missing"),
        ({"source": "a.rec", "test": 2.5}, "expected a share in"),
    ],
    ids=str,
)
def test_words_that_are_refused(data: Any, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        check({"model": MODEL, "data": data})


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ({"source": "mnist:train"}, "mnist needs the path of the folder with its files: set path"),
        ({"source": "fashion_mnist:valid"}, "set source to fashion_mnist:train or fashion_mnist:test, received 'fashion_mnist:valid'"),
        ({"source": "fashion_mnist:train", "path": "none"}, "apt-get install dataset-fashion-mnist"),
        ({"source": "none.rec"}, r"none\.rec does not exist"),
        ({"source": "none"}, "expected a .npz, .csv or .rec file, a folder of images"),
        ({"kind": "folder", "path": "none"}, "image folder .*none does not exist"),
    ],
    ids=str,
)
def test_data_that_are_not_there(work: Path, data: Any, match: str) -> None:
    with pytest.raises(DataError, match=match):
        splits(work, data)


def test_images_for_a_model_of_several_inputs(work: Path) -> None:
    (work / "net.py").write_text(
        "import polymodel as pm\n\nclass Two(pm.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.a = pm.nn.Linear(2, 2)\n    def forward(self, x, y):\n        return self.a(x + y)\n\ndef build():\n"
        "    spec = pm.TensorSpec(('batch', 2))\n    return pm.Model(Two(), {'x': spec, 'y': spec}, ['z'])\n"
    )
    np.savez(work / "two.npz", x=np.zeros((3, 2), np.float32), y=np.zeros((3, 2), np.float32), target=np.zeros(3, np.int64))
    with pytest.raises(DataError, match="transforms are for images of one input, the model has the inputs x, y"):
        splits(work, {"source": "two.npz", "transforms": ["mirror"]}, model={"factory": str(work / "net.py") + ":build"})
    with pytest.raises(DataError, match=r"has images but the model has the inputs x, y: use a \.npz file"):
        splits(work, {"source": "a.rec"}, model={"factory": str(work / "net.py") + ":build"})
