"""Fixtures of the layer tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest

from polymodel import Model, TensorSpec
from polymodel.nn import Module
from tests.runtime import run_graph

Run: TypeAlias = Callable[..., tuple[list[np.ndarray], Model]]


@pytest.fixture
def run() -> Run:
    """``outputs, model = run(module, x, ...)``: inference with a batch axis of unknown size."""

    def call(
        module: Module, *inputs: np.ndarray, outputs: int = 1, axis: int = 0, seed: int = 0
    ) -> tuple[list[np.ndarray], Model]:
        names = [f"x{i}" for i in range(len(inputs))]
        specs = {
            n: TensorSpec(tuple("batch" if a == axis else d for a, d in enumerate(x.shape)), x.dtype.name)
            for n, x in zip(names, inputs, strict=True)
        }
        model = Model(module, specs, [f"y{i}" for i in range(outputs)], seed)
        return run_graph(model.graph, dict(zip(names, inputs, strict=True))), model

    return call


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
