"""layout.py: what is transposed, and that nobody sees it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from polymodel.backend import Backend
from polymodel.builder import Builder
from polymodel.graph import Graph
from polymodel.passes.specialize import specialize
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor
from polymodel_tensorflow.compat import tf
from polymodel_tensorflow.layout import from_layout, stored_layouts, to_layout
from polymodel_tensorflow.lower import lower, prepare


def operators(graph: Graph) -> Counter[str]:
    """How often each TensorFlow operator occurs in a graph lowered with its parameters as inputs in ONNX order."""
    plan = prepare(specialize(graph, graph.outputs))
    layouts = stored_layouts(graph)

    def body() -> list[Any]:
        feeds = {}
        for name, spec in plan.inputs.items():
            layout = layouts.get(name)
            shape = [spec.shape[a] for a in layout or range(spec.rank)]
            feeds[name] = (tf.compat.v1.placeholder(tf.float32, shape), layout)
        values = lower(plan, feeds)
        return [values.get(n) for n in plan.outputs]

    with tf.Graph().as_default() as native:
        body()
    return Counter(op.type for op in native.get_operations())


def network(flat: bool = True) -> Graph:
    b = Builder()
    with b.active():
        x = b.input("x", TensorSpec((2, 3, 8, 8)))
        w = b.parameter("conv.weight", np.ones((4, 3, 3, 3), np.float32))
        h = b.op("Conv", x, w, b.parameter("conv.bias", np.ones(4, np.float32)), pads=[1, 1, 1, 1])
        one = b.constant(np.ones(4, np.float32))
        h = b.op("Relu", b.op("BatchNormalization", h, one, one, one, one))
        side = b.op("Conv", h, b.parameter("side.weight", np.ones((4, 4, 1, 1), np.float32)))
        h = b.op("Mul", b.op("Add", side, h), b.parameter("scale", np.ones((4, 1, 1), np.float32)))
        h = b.op("Concat", h, side, axis=1)
        h = b.op("MaxPool", h, kernel_shape=[2, 2], strides=[2, 2])
        b.output("y", b.op("Flatten", h) if flat else b.op("GlobalAveragePool", h))
    return b.finish()


def test_transposes_stand_at_the_ends_only() -> None:
    found = operators(network())
    # The input, the flattened result and the (4, 1, 1) factor; neither weight and nothing between the layers.
    assert found["Transpose"] == 3
    assert found["Conv2D"] == 2


def test_an_axis_of_size_one_moves_for_nothing() -> None:
    assert operators(network(flat=False))["Transpose"] == 2


def test_weights_of_convolutions_are_stored_for_them() -> None:
    layouts = stored_layouts(network())
    assert layouts["conv.weight"] == (2, 3, 1, 0)
    assert layouts["conv.bias"] is None
    assert layouts["scale"] is None


def test_asking_for_the_sizes_of_a_weight_is_not_using_it() -> None:
    """Exporters write out the sizes of a bias that is zero."""
    b = Builder()
    with b.active():
        w = b.parameter("w", np.ones((3, 2, 3, 3), np.float32))
        b.output("y", b.op("Conv", b.input("x", TensorSpec((1, 2, 4, 4))), w))
        b.output("sizes", b.op("Shape", w))
    assert stored_layouts(b.finish())["w"] == (2, 3, 1, 0)


def test_a_weight_that_something_else_reads_stays_as_it_is(backend: Backend) -> None:
    b = Builder()
    with b.active():
        x = b.input("x", TensorSpec((1, 2, 4, 4)))
        w = b.parameter("w", np.random.default_rng(0).standard_normal((3, 2, 3, 3)).astype(np.float32))
        b.output("y", b.op("Conv", x, w))
        b.output("norm", b.op("ReduceSumSquare", w, keepdims=0))
    graph = b.finish()
    assert stored_layouts(graph)["w"] is None
    found = backend.compile(graph, "cpu").predict({"x": np.ones((1, 2, 4, 4), np.float32)})
    np.testing.assert_allclose(found["norm"], (graph.parameters["w"] ** 2).sum(), rtol=1e-5)
    np.testing.assert_allclose(found["y"][0, :, 0, 0], graph.parameters["w"].sum((1, 2, 3)), rtol=1e-4)


@pytest.mark.parametrize("layout", [None, (0, 2, 3, 1), (2, 3, 1, 0)])
def test_there_and_back(layout: Any) -> None:
    array = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    held = to_layout(array, layout)
    assert held.flags.c_contiguous
    np.testing.assert_array_equal(from_layout(held, layout), array)
    assert layout is None or held.shape == tuple(array.shape[a] for a in layout)


def test_parameters_slots_and_gradients_are_in_the_standards_order(
    trained: Callable[..., Any], batch: Mapping[str, np.ndarray]
) -> None:
    program = trained()
    assert program.variables["parameters"]["conv.weight"].shape == (3, 3, 2, 4)
    assert program.parameters["conv.weight"].shape == program.slots["momentum_buffer/conv.weight"].shape == (4, 2, 3, 3)
    np.testing.assert_array_equal(program.parameters["conv.weight"], program.graph.parameters["conv.weight"])
    before = program.parameters
    gradient = program.gradients(dict(batch), {"loss": np.ones((), np.float32)})["head.weight"]
    program.train_step(batch, lr=0.5, step=1)
    assert gradient.shape == (3, 36)
    slots = program.slots
    np.testing.assert_allclose(
        program.parameters["conv.weight"], before["conv.weight"] - 0.5 * slots["momentum_buffer/conv.weight"], atol=1e-6
    )


def _elementwise(b: Builder, x: Tensor) -> Mapping[str, Tensor]:
    h = b.op("Conv", x, b.constant(np.random.default_rng(1).standard_normal((3, 2, 1, 1)).astype(np.float32)))
    row = b.constant(np.arange(5, dtype=np.float32))
    column = b.constant(np.arange(4, dtype=np.float32).reshape(4, 1))
    full = b.constant(np.arange(3 * 4 * 5, dtype=np.float32).reshape(1, 3, 4, 5))
    return {"y": b.op("Where", b.op("Greater", h + row, column), full * h, b.op("Max", h, row, column)), "h": h}


def test_broadcasting_counts_axes_in_the_standards_order(
    backend: Backend, graph_of: Callable[..., Graph]
) -> None:
    graph = graph_of(_elementwise, x=TensorSpec(("n", 2, 4, 5)))
    x = np.random.default_rng(0).standard_normal((2, 2, 4, 5)).astype(np.float32)
    found = backend.compile(graph, "cpu").predict({"x": x})
    h, row, column = found["h"], np.arange(5), np.arange(4).reshape(4, 1)
    full = np.arange(60).reshape(1, 3, 4, 5)
    expected = np.where(h + row > column, full * h, np.maximum(np.maximum(h, row), column))
    np.testing.assert_allclose(found["y"], expected, rtol=1e-6)
