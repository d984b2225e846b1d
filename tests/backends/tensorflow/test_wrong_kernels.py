"""Kernels of TensorFlow that are wrong or missing, and are avoided: docs/framework-bugs.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from polymodel.backend import Backend
from polymodel.builder import Builder
from polymodel.graph import Graph
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor

Arrays = dict[str, np.ndarray]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def check_gradients(backend: Backend, graph: Graph, feeds: Arrays, output: str = "y") -> None:
    """Float64 gradients of every floating-point input agree with central differences along one direction."""
    program = backend.compile(graph, "cpu")
    y = program.predict(feeds, [output])[output]
    cotangent = normal(*y.shape, seed=7)
    found = program.gradients(feeds, {output: cotangent})
    for i, (name, gradient) in enumerate(found.items()):
        direction = normal(*feeds[name].shape, seed=20 + i)
        h = 1e-6
        ends = [program.predict({**feeds, name: feeds[name] + s * h * direction}, [output])[output] for s in (1, -1)]
        expected = float((cotangent * (ends[0] - ends[1])).sum()) / (2 * h)
        assert float((gradient * direction).sum()) == pytest.approx(expected, rel=1e-5, abs=1e-6), name


@pytest.mark.parametrize("kind", ["Conv", "Gemm"])
def test_nan_passes_through_bias_and_relu(backend: Backend, graph_of: Callable[..., Graph], kind: str) -> None:
    def build(b: Builder, x: Tensor) -> Mapping[str, Tensor]:
        w = np.ones((3, 2, 1, 1) if kind == "Conv" else (2, 3), np.float32)
        return {"y": b.op("Relu", b.op(kind, x, b.constant(w), b.constant(np.ones(3, np.float32))))}

    shape = (1, 2, 4, 4) if kind == "Conv" else (4, 2)
    program = backend.compile(graph_of(build, x=TensorSpec(shape)), "cpu")
    assert np.isnan(program.predict({"x": np.full(shape, np.nan, np.float32)})["y"]).all()


@pytest.mark.parametrize("kind", ["Gemm", "MatMul"])
def test_a_row_is_added_to_a_product_with_a_transposed_factor(
    backend: Backend, graph_of: Callable[..., Graph], kind: str
) -> None:
    def build(b: Builder, a: Tensor, w: Tensor, c: Tensor) -> Mapping[str, Tensor]:
        if kind == "Gemm":
            return {"y": b.op("Gemm", a, w, c, transA=1)}
        return {"y": b.op("MatMul", b.op("Transpose", a, perm=[1, 0]), w) + c}

    specs = {"a": TensorSpec((6, 3)), "w": TensorSpec((6, 4)), "c": TensorSpec((1, 4))}
    feeds = {n: normal(*s.shape, seed=i).astype(np.float32) for i, (n, s) in enumerate(specs.items())}  # type: ignore[arg-type]
    found = backend.compile(graph_of(build, **specs), "cpu").predict(feeds)["y"]
    np.testing.assert_allclose(found, feeds["a"].T @ feeds["w"] + feeds["c"], atol=1e-5)


def test_batch_normalization_takes_the_epsilon_it_is_given(backend: Backend) -> None:
    b = Builder(training=True)
    with b.active():
        x = b.input("x", TensorSpec((2, 1, 2, 2)))
        one, zero = b.constant(np.ones(1, np.float32)), b.constant(np.zeros(1, np.float32))
        y, _, _ = b.ops("BatchNormalization", x, one, zero, zero, one, outputs=3, training_mode=1, epsilon=1e-8)
        b.output("y", y)
    array = (normal(2, 1, 2, 2) * 1e-3).astype(np.float32)
    found = backend.compile(b.finish(), "cpu").predict({"x": array})["y"]
    expected = (array - array.mean()) / np.sqrt(array.astype(np.float64).var() + 1e-8)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("rank", "group", "stride", "dilation"),
    [(1, 2, 1, 1), (2, 2, 2, 1), (2, 4, 1, 2), (2, 4, 2, 1), (2, 1, 2, 2), (3, 2, 1, 1), (3, 1, 1, 2)],
)
def test_convolutions_of_every_kind_have_right_gradients(
    backend: Backend, graph_of: Callable[..., Graph], rank: int, group: int, stride: int, dilation: int
) -> None:
    def build(b: Builder, x: Tensor, w: Tensor, c: Tensor) -> Mapping[str, Tensor]:
        attributes: dict[str, Any] = {
            "group": group,
            "strides": [stride] * rank,
            "dilations": [dilation] * rank,
            "pads": [1] * rank + [0] * rank,
        }
        return {"y": b.op("Conv", x, w, c, **attributes)}

    shapes = {"x": (2, 4, *[7] * rank), "w": (8, 4 // group, *[3] * rank), "c": (8,)}
    graph = graph_of(build, **{n: TensorSpec(s, "float64") for n, s in shapes.items()})
    check_gradients(backend, graph, {n: normal(*s, seed=i) for i, (n, s) in enumerate(shapes.items())})


@pytest.mark.parametrize("group", [1, 2])
def test_transposed_convolution_has_right_gradients(
    backend: Backend, graph_of: Callable[..., Graph], group: int
) -> None:
    def build(b: Builder, x: Tensor, w: Tensor) -> Mapping[str, Tensor]:
        y = b.op("ConvTranspose", x, w, group=group, strides=[2, 1], pads=[1, 0, 0, 1], output_padding=[1, 0])
        return {"y": y}

    shapes = {"x": (2, 4, 5, 4), "w": (4, 3, 3, 2)}
    graph = graph_of(build, **{n: TensorSpec(s, "float64") for n, s in shapes.items()})
    check_gradients(backend, graph, {n: normal(*s, seed=i) for i, (n, s) in enumerate(shapes.items())})


def test_the_value_of_a_pad_has_a_gradient(backend: Backend, graph_of: Callable[..., Graph]) -> None:
    graph = graph_of(
        lambda b, x, v: {"y": b.op("Pad", x, [1, 0, 0, 2], v)},
        x=TensorSpec((2, 3), "float64"),
        v=TensorSpec((), "float64"),
    )
    check_gradients(backend, graph, {"x": normal(2, 3), "v": np.array(0.5)})


def test_the_remainder_has_a_gradient(backend: Backend, graph_of: Callable[..., Graph]) -> None:
    specs = {"x": TensorSpec((2, 3), "float64"), "y": TensorSpec((3,), "float64")}
    graph = graph_of(lambda b, x, y: {"out": b.op("Mod", x, y, fmod=1)}, **specs)
    feeds = {"x": 5 * normal(2, 3), "y": 1 + normal(3, seed=1) ** 2}
    check_gradients(backend, graph, feeds, "out")


@pytest.mark.parametrize("length", [1, 5, 300])
def test_the_lstm_kernel_the_loop_and_the_formula_agree(
    backend: Backend, graph_of: Callable[..., Graph], length: int
) -> None:
    """With `clip` so large that it does nothing the composed cell runs; 300 steps are a loop in both."""

    def build(b: Builder, x: Tensor, w: Tensor, r: Tensor, h: Tensor, c: Tensor) -> Mapping[str, Tensor]:
        ends = {}
        for name, clip in (("kernel", None), ("composed", 1e6)):
            y, last_h, last_c = b.ops("LSTM", x, w, r, None, None, h, c, outputs=3, hidden_size=3, clip=clip)
            total = b.op("ReduceSum", y * y, keepdims=0) + b.op("ReduceSum", last_h * last_c, keepdims=0)
            ends[name] = total
        return ends

    shapes = {"x": (length, 2, 4), "w": (1, 12, 4), "r": (1, 12, 3), "h": (1, 2, 3), "c": (1, 2, 3)}
    graph = graph_of(build, **{n: TensorSpec(s, "float64") for n, s in shapes.items()})
    feeds = {n: 0.5 * normal(*s, seed=i) for i, (n, s) in enumerate(shapes.items())}
    program = backend.compile(graph, "cpu")
    values = program.predict(feeds)
    np.testing.assert_allclose(values["kernel"], values["composed"], rtol=1e-12)
    one = np.ones(())
    left, right = (program.gradients(feeds, {n: one}) for n in ("kernel", "composed"))
    for name in shapes:
        np.testing.assert_allclose(left[name], right[name], rtol=1e-9, atol=1e-12, err_msg=name)
