"""What random graphs found: small graphs that a backend once failed, judged as a run of random graphs would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import pytest

from polymodel.backend import Backend
from polymodel.builder import Builder
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor
from polymodel_conformance.random_graphs.case import questions
from polymodel_conformance.random_graphs.sketch import Sample
from polymodel_conformance.workers.client import Answer
from polymodel_conformance.workers.worker import perform

RNG = np.random.default_rng(0)
Make: TypeAlias = Callable[..., Tensor | tuple[Tensor, ...]]


def real(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def truths(*shape: int) -> np.ndarray:
    return RNG.random(shape) < 0.5


FOUND: Mapping[str, tuple[Make, Mapping[str, np.ndarray]]] = {
    "Split of bool": (lambda b, x: b.ops("Split", x, np.array([1, 3]), outputs=2, axis=1), {"x": truths(2, 4)}),
    "the bias of a product with a constant": (
        lambda b, x, c: b.op("Gemm", x, np.ones((3, 2), np.float32), c), {"x": real(4, 3), "c": real(2)}
    ),
    "the bias of a product with what has no derivative": (
        lambda b, x, w, c: b.op("Gemm", x, b.op("Floor", w), c), {"x": real(4, 3), "w": real(3, 2), "c": real(2)}
    ),
    "an unrolled LSTM with constant recurrence": (
        lambda b, x, w, c: b.ops("LSTM", x, w, np.ones((1, 8, 2), np.float32), c, np.array([1, 3], np.int32), outputs=2, hidden_size=2),
        {"x": real(3, 2, 4), "w": real(1, 8, 4), "c": real(1, 16)},
    ),
    "HardSwish of a constant": (
        lambda b, x: b.op("Mul", x, b.op("HardSwish", np.array([-1.4930, 0.7]))), {"x": RNG.standard_normal((3, 2))}
    ),
    "a window of a constant size": (lambda b, x: b.op("Mul", x, b.op("HannWindow", np.array(10))), {"x": real(10)}),
    "the largest of nothing": (lambda b, x: b.ops("TopK", x, np.array([0]), outputs=2), {"x": real(3, 0)}),
    "a product of a constant without elements": (
        lambda b, x, w, c: b.op("PRelu", b.op("MatMul", x, w), c), {"x": real(0, 0, 7), "w": real(7, 7), "c": real(0, 1, 7)}
    ),
    "a parameter": (lambda b, x: b.op("Mul", x, b.parameter("w", real(2, 3))), {"x": real(2, 3)}),
    "largest elements of a parameter": (
        lambda b, x: (b.op("GlobalMaxPool", b.parameter("w", real(2, 3, 5))), b.op("Neg", x)), {"x": real(2)}
    ),
    "largest elements of windows of a parameter": (
        lambda b, x: (b.op("MaxPool", b.op("Unsqueeze", b.parameter("w", real(3, 5)), np.array([0])), kernel_shape=[2]), b.op("Neg", x)),
        {"x": real(2)},
    ),
    "ReduceProd of a scalar": (lambda b, x: b.op("ReduceProd", x, noop_with_empty_axes=1), {"x": real()}),
    "ConvTranspose of which nothing is left": (
        lambda b, x, w: b.op("ConvTranspose", x, w, strides=[2], pads=[1, 1]), {"x": real(2, 3, 1), "w": real(3, 2, 2)}
    ),
    "BatchNormalization without channels": (
        lambda b, x, s, t, m, v: b.op("BatchNormalization", x, s, t, m, v),
        {"x": real(7, 0, 3, 2), **{n: real(0) for n in "stmv"}},
    ),
    "BatchNormalization of batches without channels": (
        lambda b, x, s, t, m, v: b.ops("BatchNormalization", x, s, t, m, v, outputs=3, training_mode=1),
        {"x": real(7, 0, 3, 2), **{n: real(0) for n in "stmv"}},
    ),
    "a sum with the largest elements of a constant": (
        lambda b, x: b.op("Add", x, b.op("MaxPool", real(2, 1, 3), kernel_shape=[2])), {"x": real(2, 1, 1)}
    ),
    "sequences without elements backwards": (
        lambda b, x, n: b.op("ReverseSequence", x, n), {"x": real(3, 2, 0), "n": np.array([1, 3])}
    ),
    "means of windows longer than the volume": (
        lambda b, x: b.op("AveragePool", x, kernel_shape=[1, 1, 3], auto_pad="SAME_LOWER"), {"x": real(2, 3, 1, 3, 2)}
    ),
    "nothing to the power of nothing": (
        lambda b, x: (b.op("Pow", x, np.float32(0)), b.op("Pow", x, np.array([0, 2, 3], np.float32))), {"x": np.zeros(3, np.float32)}
    ),
    "the largest value of a function of a later part": (
        lambda b, x: b.op("ReduceMax", b.op("Sigmoid", b.ops("Split", x, outputs=3, axis=1, num_outputs=3)[2]), np.array([-1])),
        {"x": real(4, 3, 5)},
    ),
    "largest values of windows of a function of a later part": (
        lambda b, x: b.op("MaxPool", b.op("Relu", b.ops("Split", x, outputs=3, axis=1, num_outputs=3)[2]), kernel_shape=[2]),
        {"x": real(4, 3, 5)},
    ),
    "the place of the largest of equal signs": (
        lambda b, x: b.op("ArgMax", b.op("Sign", x), axis=0), {"x": np.array([[-1, 1, 2, -3], [-2, 3, 1, -1]], np.float32)}
    ),
    "the smallest of what is partly no number": (lambda b, x: b.op("ReduceMin", b.op("Log", x)), {"x": np.abs(real(3, 5)) + 0.1}),
    "a volume whose stride leads out of it": (
        lambda b, x, w: b.op("Conv", x, w, strides=[3, 2, 2]), {"x": real(2, 3, 3, 5, 2), "w": real(2, 3, 1, 1, 2)}
    ),
    "normalized states of a recurrence in two directions": (
        lambda b, x, r, s, t: b.op(
            "BatchNormalization",
            b.ops(
                "RNN", x, real(2, 1, 1), r, None, np.array([6, 5, 7, 2, 5], np.int32),
                outputs=2, hidden_size=1, direction="bidirectional",
            )[0],
            s, t, real(2), np.array([1.5, 0.5], np.float32),
        ),
        {"x": real(7, 5, 1), "r": real(2, 1, 1), "s": real(2), "t": real(2)},
    ),
    "a convolution of few channels by one element": (
        lambda b, x, w: b.op("Conv", x, w, strides=[1, 3]), {"x": real(2, 3, 9, 9), "w": real(3, 3, 1, 1)}
    ),
    "a product plus a row of three axes": (
        lambda b, x, w, c: b.op("Add", c, b.op("MatMul", b.op("Sigmoid", x), w)), {"x": real(2, 4), "w": real(4, 4), "c": real(1, 1, 4)}
    ),
    "Softsign of a constant number": (lambda b, x: b.op("Mul", x, b.op("Softsign", np.float32(0.3))), {"x": real(3)}),
}


@pytest.mark.parametrize("name", FOUND)
def test_values_and_derivatives(backend: Backend, name: str) -> None:
    make, feeds = FOUND[name]
    b = Builder()
    made = make(b, **{n: b.input(n, TensorSpec(a.shape, a.dtype.name)) for n, a in feeds.items()})
    for i, tensor in enumerate(made if isinstance(made, tuple) else (made,)):
        b.output(f"y{i}", tensor)
    graph = b.finish()
    program = backend.compile(graph, "cpu")
    asked = questions(Sample(graph, feeds, (), tuple(n.op_type for n in graph.calls), True, {}))
    for question in asked:
        header: dict[str, Any] = {"verb": question.job.verb, "options": question.job.options}
        for call in (1, 2):
            outcome = question.judge(Answer("done", perform(program, header, question.job.arrays)[1]))
            assert not outcome.verdict.bad, f"{question.job.verb}, call {call}: {outcome.message}"


def test_reverse_sequence_of_unknown_sizes(backend: Backend) -> None:
    b = Builder()
    x, lengths = b.input("x", TensorSpec(("batch", "time", "width"), "float32")), b.input("lengths", TensorSpec(("batch",), "int64"))
    b.output("y", b.op("ReverseSequence", x, lengths, time_axis=1, batch_axis=0))
    program = backend.compile(b.finish(), "cpu")
    for shape in ((2, 3, 4), (3, 2, 1)):
        data = real(*shape)
        want = np.concatenate([data[:1, 1::-1], data[:1, 2:]], 1), data[1:, :1]
        got = program.predict({"x": data, "lengths": np.array([2, *[1] * (shape[0] - 1)])})["y"]
        np.testing.assert_array_equal(got[:1], want[0])
        np.testing.assert_array_equal(got[1:, :1], want[1])


def test_a_bias_of_unknown_size(backend: Backend) -> None:
    b = Builder()
    x, c = b.input("x", TensorSpec(("rows", "columns"), "float32")), b.input("c", TensorSpec(("size",), "float32"))
    b.output("y", b.op("Gemm", np.eye(3, dtype=np.float32), x, c))
    program, data = backend.compile(b.finish(), "cpu"), real(3, 5)
    for bias in (real(1), real(5)):
        np.testing.assert_array_equal(program.predict({"x": data, "c": bias})["y"], data + bias)


def test_a_batch_that_turns_out_to_be_empty(backend: Backend) -> None:
    b = Builder()
    x = b.input("x", TensorSpec(("batch", 2, "height", "width"), "float32"))
    y = b.op("MaxPool", b.op("Conv", x, np.ones((3, 2, 2, 2), np.float32)), kernel_shape=[2, 2])
    b.output("y", y)
    program = backend.compile(b.finish(), "cpu")
    for count in (2, 0, 1):
        feeds = {"x": real(count, 2, 5, 4)}
        shape = program.predict(feeds)["y"].shape
        assert shape == (count, 3, 3, 2)
        assert program.gradients(feeds, {"y": real(*shape)})["x"].shape == feeds["x"].shape


@pytest.mark.parametrize("sizes", [(3, 0, 4), (0, 3, 4), (3, 4, 0)])
def test_products_of_nothing_with_a_bias(backend: Backend, sizes: tuple[int, int, int]) -> None:
    rows, inner, columns = sizes
    b = Builder()
    x, w = b.input("x", TensorSpec(("rows", "inner"), "float32")), b.input("w", TensorSpec(("inner", "columns"), "float32"))
    c = b.input("c", TensorSpec(("columns",), "float32"))
    b.output("gemm", b.op("Gemm", x, w, c))
    b.output("sum", b.op("Add", b.op("MatMul", x, w), c))
    feeds = {"x": real(rows, inner), "w": real(inner, columns), "c": real(columns)}
    for got in backend.compile(b.finish(), "cpu").predict(feeds).values():
        np.testing.assert_allclose(got, feeds["x"] @ feeds["w"] + feeds["c"], rtol=1e-5, atol=1e-6)


def test_channels_that_only_the_weight_of_a_deconvolution_tells(backend: Backend) -> None:
    b = Builder()
    x, w = b.input("x", TensorSpec(("a", "b"), "float32")), real(3, 2, 3)
    b.output("y", b.op("ConvTranspose", b.op("Relu", b.op("Expand", x, np.array([2, 1, 3]))), w, strides=[3], group=3))
    program, data = backend.compile(b.finish(), "cpu"), np.abs(real(3, 1))
    want = np.einsum("ci,cok->coik", np.broadcast_to(data, (3, 3)), w).reshape(1, 6, 9)
    np.testing.assert_allclose(program.predict({"x": data})["y"], np.broadcast_to(want, (2, 6, 9)), rtol=1e-6)


def test_a_state_of_one_sequence_where_their_number_is_unknown(backend: Backend) -> None:
    b = Builder()
    x = b.input("x", TensorSpec(("time", "batch", 3), "float32"))
    w, r, state = real(1, 2, 3), real(1, 2, 2), real(1, 1, 2)
    b.output("y", b.ops("RNN", x, w, r, None, None, state, outputs=2, hidden_size=2)[0])
    program, data = backend.compile(b.finish(), "cpu"), real(4, 1, 3)
    want = state[:, 0]
    for step in data:
        want = np.tanh(step @ w[0].T + want @ r[0].T)
    np.testing.assert_allclose(program.predict({"x": data})["y"][-1, 0], want, rtol=1e-5)


@pytest.mark.parametrize("filters", [1, 3])
@pytest.mark.parametrize("width", [3, 4])
def test_one_channel_to_width_one(backend: Backend, width: int, filters: int) -> None:
    """oneDNN's kernel for channels-last memory takes wrong rows, in PyTorch and TensorFlow."""
    b = Builder()
    x, w = b.input("x", TensorSpec(("n", 1, "h", "w"), "float32")), b.input("w", TensorSpec((filters, 1, 3, 3), "float32"))
    b.output("y", b.op("Conv", x, w, strides=[1, 2]))
    program = backend.compile(b.finish(), "cpu")
    feeds = {"x": real(2, 1, 4, width), "w": real(filters, 1, 3, 3)}
    places = np.stack([feeds["x"][:, 0, row : row + 3, :3] for row in range(2)], 1)
    want = np.einsum("nhij,oij->noh", places, feeds["w"][:, 0])
    np.testing.assert_allclose(program.predict(feeds)["y"][..., 0], want, rtol=1e-4, atol=1e-5)
    cotangent = real(2, filters, 2, 1)
    found = program.gradients(feeds, {"y": cotangent})
    np.testing.assert_allclose(found["w"][:, 0], np.einsum("nhij,noh->oij", places, cotangent[..., 0]), rtol=1e-4, atol=1e-5)
    want = np.zeros_like(feeds["x"])
    for row in range(2):
        want[:, 0, row : row + 3, :3] += np.einsum("no,oij->nij", cotangent[:, :, row, 0], feeds["w"][:, 0])
    np.testing.assert_allclose(found["x"], want, rtol=1e-4, atol=1e-5)
