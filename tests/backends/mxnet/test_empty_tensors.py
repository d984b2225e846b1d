"""Tensors without elements: what kills the process in MXNet 1.9.1 never reaches it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from polymodel.backend import Backend
from polymodel.builder import Builder
from polymodel.graph import Graph
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor

Build = Callable[[Builder, Tensor], Mapping[str, Tensor]]
_CALLS: dict[str, tuple[tuple[int, ...], Callable[[Builder, Tensor], Tensor]]] = {
    "mean of rows": ((0, 3), lambda b, x: b.op("ReduceMean", x, [1], keepdims=0)),
    "sum of nothing": ((0, 3), lambda b, x: b.op("ReduceSum", x)),
    "selection": ((0, 3), lambda b, x: b.op("Where", x > 0, x, 1.0)),
    "broadcast sum": ((0, 3), lambda b, x: x + b.constant(np.ones((1, 3), np.float32))),
    "linear": ((0, 3), lambda b, x: b.op("Gemm", x, np.ones((2, 3), np.float32), transB=1)),
    "product over nothing": ((2, 0), lambda b, x: x @ b.constant(np.ones((0, 3), np.float32))),
    "convolution": ((0, 1, 4, 4), lambda b, x: b.op("Conv", x, np.ones((2, 1, 3, 3), np.float32))),
    "pooling": ((0, 1, 4, 4), lambda b, x: b.op("MaxPool", x, kernel_shape=[2, 2])),
    "normalization": ((0, 3), lambda b, x: b.op("LayerNormalization", x, np.ones(3, np.float32))),
    "recurrence": (
        (4, 0, 3),
        lambda b, x: b.op("LSTM", x, np.ones((1, 8, 3), np.float32), np.ones((1, 8, 2), np.float32), hidden_size=2),
    ),
    "softplus": ((0,), lambda b, x: b.op("Softplus", x)),
    "gather": ((0, 3), lambda b, x: b.op("Gather", x, np.array([1, 0], np.int64), axis=1)),
}


@pytest.mark.parametrize("name", _CALLS)
def test_value_and_derivative(backend: Backend, graph_of: Callable[..., Graph], name: str) -> None:
    shape, call = _CALLS[name]

    def build(b: Builder, x: Tensor) -> dict[str, Tensor]:
        return {"y": call(b, x)}

    program = backend.compile(graph_of(build, x=TensorSpec(shape)), "cpu")
    feeds = {"x": np.zeros(shape, np.float32)}
    y = program.predict(feeds)["y"]
    assert y.size == 0 or not y.any()
    assert program.gradients(feeds, {"y": np.ones_like(y)})["x"].shape == shape


def test_batch_of_nothing_beside_others(backend: Backend, graph_of: Callable[..., Graph]) -> None:
    def build(b: Builder, x: Tensor) -> dict[str, Tensor]:
        return {"y": b.op("Relu", b.op("Gemm", x, np.ones((2, 3), np.float32), transB=1))}

    program = backend.compile(graph_of(build, x=TensorSpec(("batch", 3))), "cpu")
    for count in (4, 0, 2, 0, 1):
        assert program.predict({"x": np.ones((count, 3), np.float32)})["y"].shape == (count, 2)


@pytest.mark.parametrize("bad", [10**11, -(10**8)])
def test_computed_indices_stay_inside(backend: Backend, graph_of: Callable[..., Graph], bad: int) -> None:
    def build(b: Builder, x: Tensor, i: Tensor) -> dict[str, Tensor]:
        return {"g": b.op("Gather", x, i), "s": b.op("ScatterElements", x, i, x[:1], reduction="add")}

    program = backend.compile(graph_of(build, x=TensorSpec((4,)), i=TensorSpec((1,), "int64")), "cpu")
    got = program.predict({"x": np.ones(4, np.float32), "i": np.array([bad], np.int64)})
    assert got["g"].shape == (1,)
    assert got["s"].sum() == 5.0
