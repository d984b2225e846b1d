"""Checkpoints on disk: whole or not at all, and clear about what is wrong with them."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from polymodel.errors import CheckpointError
from polymodel.training import checkpoint
from polymodel.training.checkpoint import Checkpoint


def make(step: int = 3) -> Checkpoint:
    """A small checkpoint with every kind of array."""
    return Checkpoint(
        {"conv.weight": np.arange(6, dtype=np.float32).reshape(2, 3) / np.float32(7), "third": np.array([1 / 3])},
        {"norm.mean": np.array([np.nan, -np.inf, -0.0], np.float32), "count": np.array(7, np.int64)},
        {"momentum_buffer/conv.weight": np.zeros((2, 3), np.float32)},
        {"step": step, "history": [{"loss": 0.1 + 0.2}]},
    )


def test_what_is_saved_is_loaded_bit_for_bit(tmp_path: Path) -> None:
    saved = make()
    loaded = checkpoint.load(saved.save(tmp_path / "a"))
    for role in ("parameters", "buffers", "slots"):
        want, got = getattr(saved, role), getattr(loaded, role)
        assert list(want) == sorted(got, key=list(want).index)
        for name, array in want.items():
            assert got[name].dtype == array.dtype
            assert got[name].shape == array.shape
            assert got[name].tobytes() == array.tobytes()
    assert loaded.record["history"] == [{"loss": 0.1 + 0.2}]


def test_arrays_that_are_not_contiguous(tmp_path: Path) -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4).T[::2]
    loaded = checkpoint.load(Checkpoint({"w": array}, {}, {}).save(tmp_path / "a"))
    np.testing.assert_array_equal(loaded.parameters["w"], array)


def test_a_checkpoint_is_never_overwritten(tmp_path: Path) -> None:
    make(1).save(tmp_path / "a")
    with pytest.raises(CheckpointError, match="never overwritten"):
        make(2).save(tmp_path / "a")
    assert checkpoint.load(tmp_path / "a").record["step"] == 1


def test_the_newest_is_found_by_number(tmp_path: Path) -> None:
    for step in (5, 100, 20):
        make(step).save(checkpoint.fresh_name(tmp_path, step))
    make(100).save(checkpoint.fresh_name(tmp_path, 100))
    assert [p.name for p in checkpoint.complete(tmp_path)] == [
        "step-00000005", "step-00000020", "step-00000100", "step-00000100.1",
    ]
    assert checkpoint.load(tmp_path).record["step"] == 100


def test_incomplete_and_temporary_folders_are_passed_over(tmp_path: Path) -> None:
    make(1).save(checkpoint.fresh_name(tmp_path, 1))
    half = tmp_path / "step-00000002"
    half.mkdir()
    (half / checkpoint.TENSORS).write_bytes(b"half")
    partial = tmp_path / ".partial-step-00000003-abc"
    partial.mkdir()
    assert checkpoint.latest(tmp_path) == tmp_path / "step-00000001"
    with pytest.raises(CheckpointError, match=r"checkpoint.json is missing. Delete it to fall back to step-00000001"):
        checkpoint.load(half)
    checkpoint.remove_partial(tmp_path)
    assert not partial.exists()


def test_no_checkpoint_at_all(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no complete checkpoint"):
        checkpoint.load(tmp_path)
    with pytest.raises(CheckpointError, match="does not exist"):
        checkpoint.load(tmp_path / "nothing")


@pytest.mark.parametrize("position", [0, 7, 60, -1])
def test_one_flipped_bit_is_noticed(tmp_path: Path, position: int) -> None:
    file = make().save(tmp_path / "a") / checkpoint.TENSORS
    data = bytearray(file.read_bytes())
    data[position] ^= 1
    file.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"damaged: tensors.safetensors has \d+ bytes and SHA-256"):
        checkpoint.load(tmp_path / "a")


def test_a_cut_file_is_noticed(tmp_path: Path) -> None:
    file = make().save(tmp_path / "a") / checkpoint.TENSORS
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.load(tmp_path / "a")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "other"}', '{"format": "polymodel-checkpoint"}', "\xff"])
def test_a_record_that_is_none(tmp_path: Path, text: str) -> None:
    (make().save(tmp_path / "a") / checkpoint.RECORD).write_text(text, encoding="latin-1")
    with pytest.raises(CheckpointError, match=r"checkpoint\.json"):
        checkpoint.load(tmp_path / "a")


def test_a_format_of_the_future(tmp_path: Path) -> None:
    file = make().save(tmp_path / "a") / checkpoint.RECORD
    file.write_text(json.dumps({**json.loads(file.read_text()), "version": 99}))
    with pytest.raises(CheckpointError, match="format version 99, this polymodel reads version 1"):
        checkpoint.load(tmp_path / "a")


def test_a_folder_that_is_not_writable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"cannot write checkpoint .*choose a folder that is writable"):
        make().save(tmp_path / "file" / "a")


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    make(1).save(checkpoint.fresh_name(tmp_path, 1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        with pytest.raises(CheckpointError, match="Free space"):
            make(2).save(checkpoint.fresh_name(tmp_path, 2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
    assert os.listdir(tmp_path) == ["step-00000001"]


def test_removing_shows_no_half(tmp_path: Path) -> None:
    path = make().save(tmp_path / "a")
    checkpoint.remove(path)
    assert os.listdir(tmp_path) == []


def test_no_framework_is_imported() -> None:
    code = "import polymodel.training.checkpoint, sys; print([m for m in ('torch', 'tensorflow', 'mxnet') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
