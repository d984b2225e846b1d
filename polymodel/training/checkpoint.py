"""The state of a run on disk: a folder that is there whole or not at all.

A checkpoint is a folder of two files:

    tensors.safetensors   "parameters/NAME", "buffers/NAME" and optimizer state "slots/SLOT/NAME"
    checkpoint.json       everything else: format version, step, epoch, batch position, seed, schedule, optimizer,
                          hash of the graph, SHA-256 of the tensor file, history, state of callbacks

It is written under a temporary name beside its own, files and folder are flushed to the disk (fsync), and only then
it is renamed; so a process killed at any moment leaves either the old state or the new one. Nothing in it is code:
no pickle. It knows no backend: what one wrote, every other one reads.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from polymodel.errors import CheckpointError

FORMAT = "polymodel-checkpoint"
VERSION = 1
TENSORS = "tensors.safetensors"
RECORD = "checkpoint.json"
_ROLES = ("parameters", "buffers", "slots")
_TEMPORARY = ".partial-"
_STEP = re.compile(r"step-(\d+)(?:\.(\d+))?")


@final
@dataclass(frozen=True)
class Checkpoint:
    """The state of a run.

    Attributes:
        parameters: arrays by name.
        buffers: arrays by name.
        slots: optimizer state, named "SLOT/PARAMETER".
        record: plain data that JSON can hold; `graph_hash`, `step`, `epoch`, `batch`, `seed`, ...
    """

    parameters: Mapping[str, np.ndarray]
    buffers: Mapping[str, np.ndarray]
    slots: Mapping[str, np.ndarray]
    record: Mapping[str, Any] = field(default_factory=dict)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the checkpoint as a folder that appears whole or not at all.

        Raises:
            CheckpointError: the folder exists, or the disk is full or not writable; nothing is left behind then.
        """
        target = Path(path)
        if target.exists():
            raise CheckpointError(f"{target} exists and a checkpoint is never overwritten: choose another name")
        temporary = target.parent / f"{_TEMPORARY}{target.name}-{uuid.uuid4().hex[:8]}"
        try:
            temporary.mkdir(parents=True)
            self._write(temporary)
            os.rename(temporary, target)
            _flush(target.parent)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise CheckpointError(
                f"cannot write checkpoint {target}: {error}; earlier checkpoints are untouched. Free space there, or "
                "choose a folder that is writable"
            ) from error
        return target

    def _write(self, folder: Path) -> None:
        groups = (self.parameters, self.buffers, self.slots)
        tensors = {
            f"{role}/{name}": np.asarray(array, order="C")  # ascontiguousarray gives a scalar an axis
            for role, group in zip(_ROLES, groups, strict=True)
            for name, array in group.items()
        }
        save_file(tensors, folder / TENSORS)
        digest, size = _digest(folder / TENSORS)
        record = {
            "format": FORMAT,
            "version": VERSION,
            **self.record,
            "tensors": {"file": TENSORS, "sha256": digest, "bytes": size},
        }
        (folder / RECORD).write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        for file in (folder / TENSORS, folder / RECORD):
            _flush(file)
        _flush(folder)


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Read and check a checkpoint.

    Args:
        path: a checkpoint, or a folder of checkpoints of which the newest is read.

    Raises:
        CheckpointError: it is missing, incomplete, damaged, or of a format that this version does not know.
    """
    folder = resolve(path)
    record = _record(folder)
    tensors = record["tensors"]
    file = folder / TENSORS
    if not file.is_file():
        raise CheckpointError(f"checkpoint {folder} is incomplete: {TENSORS} is missing{_way_out(folder)}")
    digest, size = _digest(file)
    if (digest, size) != (tensors.get("sha256"), tensors.get("bytes")):
        raise CheckpointError(
            f"checkpoint {folder} is damaged: {TENSORS} has {size} bytes and SHA-256 {digest[:12]}..., {RECORD} says "
            f"{tensors.get('bytes')} bytes and {str(tensors.get('sha256'))[:12]}...{_way_out(folder)}"
        )
    try:
        arrays = load_file(file)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"checkpoint {folder} is damaged: {TENSORS}: {error}{_way_out(folder)}") from error
    groups: dict[str, dict[str, np.ndarray]] = {role: {} for role in _ROLES}
    for name, array in arrays.items():
        role, _, key = name.partition("/")
        if role not in groups:
            raise CheckpointError(f"checkpoint {folder} is damaged: tensor {name!r} is none of {', '.join(_ROLES)}")
        groups[role][key] = array
    return Checkpoint(groups["parameters"], groups["buffers"], groups["slots"], record)


def complete(folder: str | os.PathLike[str]) -> list[Path]:
    """The complete checkpoints named step-N in a folder, oldest first."""
    found = []
    for child in Path(folder).iterdir() if Path(folder).is_dir() else ():
        match = _STEP.fullmatch(child.name)
        if match and (child / RECORD).is_file() and (child / TENSORS).is_file():
            found.append((int(match[1]), int(match[2] or 0), child))
    return [path for _, _, path in sorted(found)]


def latest(folder: str | os.PathLike[str]) -> Path | None:
    """The newest complete checkpoint of a folder; None when there is none."""
    found = complete(folder)
    return found[-1] if found else None


def resolve(path: str | os.PathLike[str]) -> Path:
    """The checkpoint that a path means: itself, or the newest one inside it.

    Raises:
        CheckpointError: there is none.
    """
    folder = Path(path)
    if (folder / RECORD).exists() or (folder / TENSORS).exists():
        return folder
    newest = latest(folder)
    if newest is None:
        what = "holds no complete checkpoint" if folder.is_dir() else "is no folder"
        raise CheckpointError(
            f"{folder} {what if folder.exists() else 'does not exist'}: expected a folder with {RECORD} and {TENSORS}, "
            "or one that holds such folders"
        )
    return newest


def fresh_name(folder: str | os.PathLike[str], step: int) -> Path:
    """A name for the checkpoint of a step that nothing has yet."""
    path, again = Path(folder) / f"step-{step:08d}", 0
    while path.exists():
        again += 1
        path = Path(folder) / f"step-{step:08d}.{again}"
    return path


def remove(path: Path) -> None:
    """Delete a checkpoint so that no moment shows half of it."""
    doomed = path.parent / f"{_TEMPORARY}{path.name}-{uuid.uuid4().hex[:8]}"
    os.rename(path, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def remove_partial(folder: str | os.PathLike[str]) -> None:
    """Delete what killed processes left of checkpoints that they were writing."""
    for child in Path(folder).glob(f"{_TEMPORARY}*"):
        shutil.rmtree(child, ignore_errors=True)


def _record(folder: Path) -> dict[str, Any]:
    file = folder / RECORD
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"checkpoint {folder} is incomplete: {RECORD} is missing{_way_out(folder)}") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"checkpoint {folder} is damaged: {RECORD}: {error}{_way_out(folder)}") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT or not isinstance(record.get("tensors"), dict):
        raise CheckpointError(f"{file} is no record of a checkpoint: expected a mapping with format {FORMAT!r}")
    if record.get("version") != VERSION:
        raise CheckpointError(
            f"checkpoint {folder} has format version {record.get('version')}, this polymodel reads version {VERSION}: "
            "use the polymodel that wrote it"
        )
    return record


def _way_out(folder: Path) -> str:
    others = [p for p in complete(folder.parent) if p != folder]
    return f". Delete it to fall back to {others[-1].name}" if others else ". There is no other beside it: start again"


def _digest(file: Path) -> tuple[str, int]:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
    return digest.hexdigest(), file.stat().st_size


def _flush(path: Path) -> None:
    """Have the disk hold a file or the entries of a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
