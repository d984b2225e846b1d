"""Every configuration in examples/ trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

ELSEWHERE = ("fashion_mnist.yaml", "fashion_mnist_resnet18.yaml", "vgg_records.yaml")
"""Their data are not in the repository: tests/data/test_examples_of_data.py makes some."""
EXAMPLES = sorted(p for p in (Path(__file__).parents[2] / "examples").glob("*.yaml") if p.name not in ELSEWHERE)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_an_example_learns(polymodel: Any, tmp_path: Path, path: Path) -> None:
    done = polymodel("train", path, "--backend", "torch", "--output", tmp_path / "run", "--json")
    assert done.code == 0, done.err
    assert done.json["history"][-1]["val_accuracy"] > 0.95
