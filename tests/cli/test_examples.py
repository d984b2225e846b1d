"""Every configuration in examples/ trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_an_example_learns(polymodel: Any, tmp_path: Path, path: Path) -> None:
    done = polymodel("train", path, "--backend", "torch", "--output", tmp_path / "run", "--json")
    assert done.code == 0, done.err
    assert done.json["history"][-1]["val_accuracy"] > 0.95
