"""Kernels of MXNet 1.9.1 that are silently wrong are not reached: values and derivatives of what replaces them."""

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

Make = Callable[..., Graph]


def _derivative_agrees(backend: Backend, graph: Graph, feeds: Mapping[str, np.ndarray]) -> None:
    """float64 derivatives of every input against central differences along a random direction."""
    program, rng = backend.compile(graph, "cpu"), np.random.default_rng(0)
    (name,) = graph.outputs
    cotangent = rng.standard_normal(program.predict(feeds)[name].shape)
    found = program.gradients(feeds, {name: cotangent})
    for key, gradient in found.items():
        direction = rng.standard_normal(feeds[key].shape)
        up, down = (program.predict({**feeds, key: feeds[key] + h * direction})[name] for h in (1e-6, -1e-6))
        expected = np.sum(cotangent * (up - down)) / 2e-6
        assert np.sum(gradient * direction) == pytest.approx(expected, rel=1e-6, abs=1e-7), key


def _double(*shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {f"x{i}": rng.standard_normal(s) for i, s in enumerate(shapes)}


def _graph(make: Make, feeds: Mapping[str, np.ndarray], op_type: str, **attributes: Any) -> Graph:
    def build(b: Builder, **inputs: Tensor) -> dict[str, Tensor]:
        return {"y": b.op(op_type, *inputs.values(), **attributes)}

    return make(build, **{n: TensorSpec(a.shape, a.dtype.name) for n, a in feeds.items()})


@pytest.mark.parametrize("shapes", [((5, 1, 2, 3), (4, 3, 2)), ((1, 4, 2, 3), (5, 1, 3, 2)), ((2, 3), (4, 3, 2))])
def test_matmul_with_broadcast_stacks(backend: Backend, graph_of: Make, shapes: tuple[tuple[int, ...], ...]) -> None:
    feeds = _double(*shapes)
    _derivative_agrees(backend, _graph(graph_of, feeds, "MatMul"), feeds)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,ij->", ((2, 3), (2, 3))),
        ("i,i", ((3,), (3,))),
        ("ii->", ((3, 3),)),
        ("...ij,...jk->...ik", ((5, 1, 2, 3), (1, 4, 3, 2))),
        ("ij,jk,kl->il", ((2, 3), (3, 4), (4, 2))),
        ("bij->bji", ((2, 3, 4),)),
    ],
)
def test_einsum(backend: Backend, graph_of: Make, equation: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    feeds = _double(*shapes)
    graph = _graph(graph_of, feeds, "Einsum", equation=equation)
    got = backend.compile(graph, "cpu").predict(feeds)["y"]
    np.testing.assert_allclose(got, np.einsum(equation, *feeds.values()), rtol=1e-12, atol=1e-12)
    _derivative_agrees(backend, graph, feeds)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_transposed_convolution_in_float64_with_stride_and_dilation(
    backend: Backend, graph_of: Make, rank: int
) -> None:
    feeds = _double((1, 2, *[3] * rank), (2, 2, *[2] * rank))
    graph = _graph(graph_of, feeds, "ConvTranspose", strides=[2] * rank, dilations=[2] * rank)
    expected = np.zeros((1, 2, *[7] * rank))
    for place in np.ndindex(*[3] * rank):
        for tap in np.ndindex(*[2] * rank):
            at = tuple(2 * p + 2 * t for p, t in zip(place, tap, strict=True))
            here, weight = np.moveaxis(feeds["x0"][0], 0, -1)[place], np.moveaxis(feeds["x1"], (0, 1), (-2, -1))[tap]
            np.moveaxis(expected[0], 0, -1)[at] += here @ weight
    np.testing.assert_allclose(backend.compile(graph, "cpu").predict(feeds)["y"], expected, rtol=1e-12)
    _derivative_agrees(backend, graph, feeds)


@pytest.mark.parametrize(
    ("op_type", "attributes"), [("ThresholdedRelu", {"alpha": 0.3}), ("Shrink", {"lambd": 0.2, "bias": 0.1})]
)
def test_selection_of_a_number(backend: Backend, graph_of: Make, op_type: str, attributes: dict[str, float]) -> None:
    feeds = _double((4, 5))
    _derivative_agrees(backend, _graph(graph_of, feeds, op_type, **attributes), feeds)


def test_round_goes_to_even(backend: Backend, graph_of: Make) -> None:
    feeds = {"x": np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], np.float32)}
    got = backend.compile(_graph(graph_of, feeds, "Round"), "cpu").predict(feeds)["y"]
    np.testing.assert_array_equal(got, [-2, -2, 0, 0, 2, 2])


@pytest.mark.parametrize("op_type", ["Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Clip"])
def test_nan_is_not_lost(backend: Backend, graph_of: Make, op_type: str) -> None:
    feeds = {"x": np.array([np.nan, -1, 1, 0], np.float32)}
    got = backend.compile(_graph(graph_of, feeds, op_type), "cpu").predict(feeds)["y"]
    np.testing.assert_array_equal(np.isnan(got), [True, False, False, False])


@pytest.mark.parametrize("op_type", ["ReduceMax", "ReduceMin"])
def test_tied_extrema_share_one_derivative(backend: Backend, graph_of: Make, op_type: str) -> None:
    feeds = {"x": np.ones((2, 3))}
    program = backend.compile(_graph(graph_of, feeds, op_type, keepdims=0), "cpu")
    assert program.gradients(feeds, {"y": np.array(1.0)})["x"].sum() == 1.0


def test_sequence_lengths_are_heeded(backend: Backend, graph_of: Make) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype(np.float32) for s in ((5, 2, 3), (1, 16, 3), (1, 16, 4))]
    feeds = {"x": arrays[0], "w": arrays[1], "r": arrays[2], "n": np.array([5, 2], np.int32)}

    def build(b: Builder, x: Tensor, w: Tensor, r: Tensor, n: Tensor) -> dict[str, Tensor]:
        y, h = b.ops("LSTM", x, w, r, None, n, outputs=2, hidden_size=4)
        _, short = b.ops("LSTM", x[:2], w, r, outputs=2, hidden_size=4)
        return {"y": y, "h": h, "short": short}

    got = backend.compile(graph_of(build, **{n: TensorSpec(a.shape, a.dtype.name) for n, a in feeds.items()}), "cpu").predict(feeds)
    assert not got["y"][2:, :, 1].any()
    np.testing.assert_allclose(got["h"][:, 1], got["short"][:, 1], rtol=1e-5, atol=1e-6)


def test_quotients_of_large_integers_are_exact(backend: Backend, graph_of: Make) -> None:
    feeds = {"x": np.array([2**62 + 1, -(2**62) - 1, 7, -7], np.int64), "z": np.array([3, 3, -2, 2], np.int64)}
    got = backend.compile(_graph(graph_of, feeds, "Div"), "cpu").predict(feeds)["y"]
    assert got.tolist() == [(2**62 + 1) // 3, -((2**62 + 1) // 3), -3, -3]


def test_softplus_near_zero(backend: Backend, graph_of: Make) -> None:
    feeds = {"x": np.linspace(-3, 3, 101).astype(np.float32)}
    graph = _graph(graph_of, feeds, "Softplus")
    got = backend.compile(graph, "cpu").predict(feeds)["y"]
    np.testing.assert_allclose(got, np.log1p(np.exp(feeds["x"].astype(np.float64))), rtol=2e-7, atol=1e-7)
    _derivative_agrees(backend, _graph(graph_of, zero := {"x": np.zeros(1)}, "Softplus"), zero)


def test_no_largest_elements(backend: Backend, graph_of: Make) -> None:
    def build(b: Builder, x: Tensor) -> dict[str, Tensor]:
        values, places = b.ops("TopK", x, np.array([0], np.int64), outputs=2)
        return {"values": values, "places": places}

    got = backend.compile(graph_of(build, x=TensorSpec((2, 3))), "cpu").predict({"x": np.ones((2, 3), np.float32)})
    assert got["values"].shape == got["places"].shape == (2, 0)
