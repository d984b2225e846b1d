"""examples/gan.py in a short form, on every backend."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FILE = Path(__file__).parents[2] / "examples/gan.py"


@pytest.fixture(scope="module")
def example() -> Any:
    spec = importlib.util.spec_from_file_location("example_gan", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generator_comes_to_resemble_the_digits(example: Any, backend: str) -> None:
    """The mean image of what it makes nears the mean digit, and the discriminator is neither blind nor certain."""
    data = example.digits()
    step = example.build(backend, width=8, lr=4e-3, device="cpu")
    z = np.random.default_rng(0).standard_normal((256, example.CODE), dtype=np.float32)

    def distance() -> float:
        return float(np.abs(step.predict("generator", z).mean(0) - data.mean(0)).mean())

    before = distance()
    step.fit(data, epochs=4, batch_size=64, progress=False)
    assert distance() < 0.5 * before
    assert 0.5 < step.history["judge_real"][-1] < 0.97
    assert len(example.text(step.predict("generator", z[:2])).splitlines()) == 8
