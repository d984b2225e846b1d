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
    "two rows": RNG.standard_normal((3, 2, 2)),
    "small and large": RNG.standard_normal((4, 4)) * [[1e-4], [1.0], [10.0], [100.0]],
    "of 33 rows": RNG.standard_normal((33, 33)) / 3.5,
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
    np.testing.assert_allclose(found, want, rtol=1e-6 if name == "of 33 rows" else 1e-7, atol=1e-7 if name == "of 33 rows" else 1e-9)


def test_the_derivative_keeps_the_places_of_small_cofactors(backend: Backend, graph_of: Callable[..., Graph]) -> None:
    """Those of elimination: singular values are off by what the largest cofactor of the matrix loses."""
    x = np.random.default_rng(0).standard_normal((600, 4, 4))
    graph = graph_of(lambda b, x: {"y": b.op("Det", x)}, x=TensorSpec(x.shape, "float64"))
    found = backend.compile(graph, "cpu").gradients({"x": x}, {"y": np.ones(len(x))})["x"]
    a = x.astype(np.longdouble)
    rest = a[:, 1:, 1:]  # of the first row and column
    wide = (
        rest[:, 0, 0] * (rest[:, 1, 1] * rest[:, 2, 2] - rest[:, 1, 2] * rest[:, 2, 1])
        - rest[:, 0, 1] * (rest[:, 1, 0] * rest[:, 2, 2] - rest[:, 1, 2] * rest[:, 2, 0])
        + rest[:, 0, 2] * (rest[:, 1, 0] * rest[:, 2, 1] - rest[:, 1, 1] * rest[:, 2, 0])
    )
    errors = np.abs(found[:, 0, 0] - wide.astype(np.float64)) / (2.0**-53 * np.abs(x[:, 1:, 1:]).max((1, 2)) ** 3)
    assert errors.max() < 12  # by elimination 4, by singular values 43


def test_float16(backend: Backend, graph_of: Callable[..., Graph]) -> None:
    x = MATRICES["regular"].astype(np.float16)
    graph = graph_of(lambda b, x: {"y": b.op("Det", x)}, x=TensorSpec(x.shape, "float16"))
    found = backend.compile(graph, "cpu").predict({"x": x})["y"]
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, np.linalg.det(x.astype(np.float64)), rtol=1e-3, atol=1e-3)
