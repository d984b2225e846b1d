"""What the oracle computed, kept between runs in the user's cache folder under a hash of everything it depends on."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import final

import numpy as np
import onnx

_LARGEST = 48 << 20
_TOTAL = 2 << 30


@lru_cache(maxsize=1)
def _code() -> bytes:
    """Hash of the oracle and of what prepares its input."""
    digest = hashlib.sha256(f"{np.__version__} {onnx.__version__}".encode())
    here = Path(__file__).parent
    for file in (*sorted((here / "oracle").glob("*.py")), *(here / f for f in ("tolerance/floor.py", "training.py", "cache.py"))):
        digest.update(file.read_bytes())
    return digest.digest()


def folder() -> Path:
    """POLYMODEL_CACHE, else the user's cache folder."""
    base = os.environ.get("POLYMODEL_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "polymodel"
    )
    return Path(base) / "conformance"


@final
class Key:
    """Collects what a result depends on."""

    def __init__(self, *words: str) -> None:
        self._digest = hashlib.sha256(_code())
        self.add(*words)

    def add(self, *words: str) -> Key:
        """Text."""
        for word in words:
            self._digest.update(word.encode() + b"\0")
        return self

    def arrays(self, arrays: Mapping[str, np.ndarray]) -> Key:
        """Names, types and contents of arrays."""
        for name, a in arrays.items():
            self.add(name, str(a.dtype), str(a.shape))
            self._digest.update(np.ascontiguousarray(a).tobytes())
        return self

    @property
    def name(self) -> str:
        """File name."""
        return self._digest.hexdigest()[:40]


def read(key: Key) -> dict[str, np.ndarray] | None:
    """What was kept under a key; None when nothing (readable) was."""
    path = folder() / f"{key.name}.npz"
    try:
        with np.load(path, allow_pickle=False) as data:
            found = {n: data[n] for n in data.files}
        os.utime(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None
    return found


def write(key: Key, arrays: Mapping[str, np.ndarray]) -> None:
    """Keep arrays, unless they are very large or the folder cannot be written."""
    if sum(a.nbytes for a in arrays.values()) > _LARGEST:
        return
    path = folder() / f"{key.name}.npz"
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            np.savez(file, **dict(arrays))
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)


def trim() -> None:
    """Drop what was used longest ago until the folder is small enough."""
    found = []
    for file in folder().glob("[!.]*.npz"):  # those with a dot are being written
        try:
            about = file.stat()
        except FileNotFoundError:  # another run drops files too
            continue
        found.append((about.st_mtime, about.st_size, file))
    total = 0
    for _, size, file in sorted(found, reverse=True):
        total += size
        if total > _TOTAL:
            file.unlink(missing_ok=True)
