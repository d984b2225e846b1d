"""Rules where PyTorch's own operator means something else than the standard, or nothing certain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from polymodel.backend import Backend
from polymodel.errors import Unsupported
from polymodel.graph import Graph
from polymodel.spec import TensorSpec

Arrays = dict[str, np.ndarray]


@pytest.fixture
def run(backend: Backend, graph_of: Callable[..., Graph]) -> Callable[..., Arrays]:
    """run(build, x=array, ...): outputs of a small graph."""

    def call(build: Any, **inputs: np.ndarray) -> Arrays:
        specs = {n: TensorSpec(a.shape, a.dtype.name) for n, a in inputs.items()}
        return backend.compile(graph_of(build, **specs), "cpu").predict(inputs)

    return call


@pytest.mark.parametrize(("op", "last"), [("ArgMax", 0), ("ArgMax", 1), ("ArgMin", 0), ("ArgMin", 1)])
def test_the_first_or_last_of_equal_elements(run: Callable[..., Arrays], op: str, last: int) -> None:
    x = np.zeros((2, 1000), np.float32)
    got = run(lambda b, x: {"y": b.op(op, x, axis=1, keepdims=0, select_last_index=last)}, x=x)["y"]
    np.testing.assert_array_equal(got, [999, 999] if last else [0, 0])


@pytest.mark.parametrize("largest", [0, 1])
def test_equal_elements_of_topk_come_in_order(run: Callable[..., Arrays], largest: int) -> None:
    x = np.array([[3, 1, 3, 1, 3, 1] * 50], np.float32)
    got = run(lambda b, x: dict(zip("vi", b.ops("TopK", x, [100], outputs=2, largest=largest), strict=True)), x=x)
    np.testing.assert_array_equal(got["i"][0], np.arange(1 - largest, 200, 2))


def test_softplus_has_no_linear_piece(run: Callable[..., Arrays]) -> None:
    x = np.array([-1000.0, -30.0, 0.0, 20.5, 1000.0])
    np.testing.assert_allclose(run(lambda b, x: {"y": b.op("Softplus", x)}, x=x)["y"], np.logaddexp(x, 0), rtol=1e-15)


def test_floats_become_small_integers_by_wrapping(run: Callable[..., Arrays]) -> None:
    x = np.array([300.0, -1.0, 255.9], np.float32)
    got = run(lambda b, x: {"y": b.op("Cast", x, to=2)}, x=x)["y"]
    np.testing.assert_array_equal(got, np.array([44, 255, 255], np.uint8))


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64"])
def test_wide_unsigned_integers(run: Callable[..., Arrays], dtype: str) -> None:
    top = np.iinfo(dtype).max
    x, y = np.array([top, 7, 1], dtype), np.array([2, 2, 2], dtype)
    got = run(
        lambda b, x, y: {
            "div": b.op("Div", x, y), "add": b.op("Add", x, y), "less": b.op("Less", x, y), "max": b.op("Max", x, y)
        },
        x=x, y=y,
    )
    np.testing.assert_array_equal(got["div"], np.array([top // 2, 3, 0], dtype))
    np.testing.assert_array_equal(got["add"], np.array([1, 9, 3], dtype))
    np.testing.assert_array_equal(got["less"], [False, False, True])
    np.testing.assert_array_equal(got["max"], np.array([top, 7, 2], dtype))


def test_negative_steps_and_integer_division(run: Callable[..., Arrays]) -> None:
    x = np.arange(-5, 5, dtype=np.int32)
    got = run(lambda b, x: {"y": b.op("Slice", x, [-1], [-100], [0], [-3]), "z": b.op("Div", x, np.int32(2))}, x=x)
    np.testing.assert_array_equal(got["y"], x[::-3])
    np.testing.assert_array_equal(got["z"], np.trunc(x / 2).astype(np.int32))


@pytest.mark.parametrize(("inside", "ceil"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_average_pooling_counts_by_the_standard(run: Callable[..., Arrays], inside: int, ceil: int) -> None:
    """Padding counts with count_include_pad; what ceil_mode reaches behind it never does."""
    x = np.ones((1, 1, 7), np.float32)
    got = run(
        lambda b, x: {
            "y": b.op("AveragePool", x, kernel_shape=[3], strides=[2], pads=[1, 0], ceil_mode=ceil,
                      count_include_pad=inside)
        },
        x=x,
    )["y"][0, 0]
    expected = [2 / 3 if inside else 1.0, 1.0, 1.0, *([1.0] if ceil else [])]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_one_element_has_variance_zero(run: Callable[..., Arrays]) -> None:
    """torch's running variance is unbiased: of a single element 0/0."""
    c = np.ones(2, np.float32)

    def build(b: Any, x: Any) -> dict[str, Any]:
        return dict(zip("ymv", b.ops("BatchNormalization", x, c, 0 * c, c, c, outputs=3, training_mode=1), strict=True))

    got = run(build, x=np.ones((1, 2, 1, 2), np.float32))
    np.testing.assert_allclose(got["v"], 0.9, rtol=1e-6)


def test_a_row_without_keys_has_a_finite_derivative(backend: Backend, graph_of: Callable[..., Graph]) -> None:
    mask = np.array([[True, True], [False, False]])
    graph = graph_of(lambda b, q: {"y": b.op("Attention", q, q, q, mask)}, q=TensorSpec((1, 1, 2, 4)))
    program = backend.compile(graph, "cpu")
    q = np.random.default_rng(0).standard_normal((1, 1, 2, 4)).astype(np.float32)
    assert not program.predict({"q": q})["y"][0, 0, 1].any()
    gradient = program.gradients({"q": q}, {"y": np.ones((1, 1, 2, 4), np.float32)})["q"]
    assert np.isfinite(gradient).all()
    assert gradient.any()


def test_class_weights_have_a_derivative(backend: Backend, graph_of: Callable[..., Graph]) -> None:
    def build(b: Any, x: Any, t: Any, w: Any) -> dict[str, Any]:
        return {"loss": b.op("SoftmaxCrossEntropyLoss", x, t, w, ignore_index=1)}

    graph = graph_of(build, x=TensorSpec((5, 3), "float64"), t=TensorSpec((5,), "int64"), w=TensorSpec((3,), "float64"))
    program = backend.compile(graph, "cpu")
    rng = np.random.default_rng(0)
    feeds = {"x": rng.standard_normal((5, 3)), "t": np.array([0, 1, 2, 2, 0]), "w": np.array([0.5, 9.0, 2.0])}
    gradient = program.gradients(feeds, {"loss": np.ones(())}, wrt=["w"])["w"]
    for i in range(3):
        step = 1e-6 * np.eye(3)[i]
        up, down = (program.predict({**feeds, "w": feeds["w"] + s})["loss"] for s in (step, -step))
        np.testing.assert_allclose(gradient[i], (up - down) / 2e-6, rtol=1e-6, atol=1e-9)


def test_native_dropout_keeps_the_mean(run: Callable[..., Arrays]) -> None:
    def build(b: Any, x: Any) -> dict[str, Any]:
        on, off = np.array(True), np.array(False)
        y, mask = b.ops("Dropout", x, np.float32(0.25), on, outputs=2)
        return {"y": y, "mask": mask, "same": b.op("Dropout", x, np.float32(0.25), off)}

    x = np.ones((100, 100), np.float32)
    got = run(build, x=x)
    np.testing.assert_allclose(got["y"], got["mask"] / np.float32(0.75), rtol=1e-6)
    assert 0.72 < got["mask"].mean() < 0.78
    np.testing.assert_array_equal(got["same"], x)


def test_a_missing_rule_names_the_call(
    backend: Backend, graph_of: Callable[..., Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(backend.table._rules, ("", "Det"))
    graph = graph_of(lambda b, x: {"y": b.op("Det", x)}, x=TensorSpec((3, 3)))
    with pytest.raises(Unsupported, match=r"ai.onnx::Det.*float32\[3, 3\]"):
        backend.compile(graph, "cpu").predict({"x": np.eye(3, dtype=np.float32)})
