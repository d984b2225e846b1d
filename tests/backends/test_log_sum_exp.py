"""ReduceLogSumExp far from zero: its derivative is the softmax, to the last places whatever the result's size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from polymodel.backend import Backend
from polymodel.graph import Graph
from polymodel.spec import TensorSpec


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("keep", [0, 1])
def test_derivative_far_from_zero(backend: Backend, graph_of: Callable[..., Graph], kind: str, keep: int) -> None:
    x = np.random.default_rng(0).integers(-8, 8, (4, 3, 5)).astype(kind) / 4
    graph = graph_of(lambda b, x: {"y": b.op("ReduceLogSumExp", x, [0, 2], keepdims=keep)}, x=TensorSpec(x.shape, kind))
    program = backend.compile(graph, "cpu")
    e = np.exp(x.astype(np.longdouble))
    want = (e / e.sum((0, 2), keepdims=True)).astype(kind)
    cotangent = {"y": np.ones((1, 3, 1) if keep else 3, kind)}
    for shift in (0, 1000, -1000):
        found = program.gradients({"x": x + np.asarray(shift, kind)}, cotangent)["x"]
        np.testing.assert_allclose(found, want, rtol=16 * float(np.finfo(kind).eps))


def test_infinities_and_nothing(backend: Backend, graph_of: Callable[..., Graph]) -> None:
    x = np.array([[-np.inf, -np.inf], [-np.inf, 1], [np.inf, 1], [np.nan, 1]], np.float32)
    graph = graph_of(lambda b, x: {"y": b.op("ReduceLogSumExp", x, [1], keepdims=0)}, x=TensorSpec(x.shape, "float32"))
    np.testing.assert_array_equal(backend.compile(graph, "cpu").predict({"x": x})["y"], np.array([-np.inf, 1, np.inf, np.nan], np.float32))
    graph = graph_of(lambda b, x: {"y": b.op("ReduceLogSumExp", x, [1], keepdims=0)}, x=TensorSpec((2, 0), "float32"))
    np.testing.assert_array_equal(backend.compile(graph, "cpu").predict({"x": np.zeros((2, 0), np.float32)})["y"], [-np.inf, -np.inf])
