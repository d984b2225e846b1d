"""Determinants and their derivatives, of singular matrices too."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from polymodel.backend import Backend
from polymodel.graph import Graph
from polymodel.spec import TensorSpec

RNG = np.random.default_rng(0)
MATRICES = {
    "one": RNG.standard_normal((2, 1, 1)),
    "regular": RNG.standard_normal((2, 3, 4, 4)),
    "single": RNG.standard_normal((5, 5)),
    "singular": np.array([[1.0, 2, 3], [2, 4, 6], [1, 0, 1]]),
    "of rank n - 2": np.ones((3, 3)),
    "zero": np.zeros((2, 2)),
    "empty": np.zeros((2, 0, 0)),
    "none": np.zeros((0, 3, 3)),
}


@pytest.mark.parametrize("name", MATRICES)
def test_value_and_derivative(backend: Backend, graph_of: Callable[..., Graph], name: str) -> None:
    x = MATRICES[name]
    graph = graph_of(lambda b, x: {"y": b.op("Det", x)}, x=TensorSpec(x.shape, "float64"))
    program = backend.compile(graph, "cpu")
    np.testing.assert_allclose(program.predict({"x": x})["y"], np.linalg.det(x), rtol=1e-12, atol=1e-14)
    weights = np.random.default_rng(1).standard_normal(x.shape[:-2])
    found = program.gradients({"x": x}, {"y": weights})["x"]
    want = np.zeros_like(x)
    for at in range(x.size):
        step = np.zeros(x.size)
        step[at] = 1e-5
        change = np.linalg.det(x + step.reshape(x.shape)) - np.linalg.det(x - step.reshape(x.shape))
        want.reshape(-1)[at] = (weights * change).sum() / 2e-5
    np.testing.assert_allclose(found, want, rtol=1e-7, atol=1e-9)


def test_float16(backend: Backend, graph_of: Callable[..., Graph]) -> None:
    x = MATRICES["regular"].astype(np.float16)
    graph = graph_of(lambda b, x: {"y": b.op("Det", x)}, x=TensorSpec(x.shape, "float16"))
    found = backend.compile(graph, "cpu").predict({"x": x})["y"]
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, np.linalg.det(x.astype(np.float64)), rtol=1e-3, atol=1e-3)
