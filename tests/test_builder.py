"""builder.py: calls become nodes with types; what does not fit fails there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import pytest

from polymodel.builder import Builder, current_builder
from polymodel.errors import DtypeError, GraphError, ShapeError
from polymodel.spec import TensorSpec
from tests.runtime import run_graph


@pytest.fixture
def b() -> Iterator[Builder]:
    builder = Builder()
    with builder.active():
        yield builder


def test_types_and_shapes_are_known_at_once(b: Builder) -> None:
    x = b.input("x", TensorSpec(("batch", 3, 8, 8)))
    y = b.op("Conv", x, np.zeros((5, 3, 3, 3), np.float32), strides=[2, 2])
    assert y.spec == TensorSpec(("batch", 5, 3, 3))
    assert (y.rank, y.shape, y.dtype) == (4, ("batch", 5, 3, 3), "float32")


@pytest.mark.parametrize(
    ("other", "error", "words"),
    [
        (TensorSpec((4, 5)), ShapeError, r"'MatMul' MatMul\(float32\[batch, 3\], float32\[4, 5\]\)"),
        (TensorSpec((3, 5), "float64"), DtypeError, "input 'B' is float64 where another input is float: cast one"),
        (TensorSpec((3, 5), "bool"), DtypeError, "input 'B' is bool, expected one of "),
    ],
)
def test_what_does_not_fit_shows_both_sides(b: Builder, other: TensorSpec, error: type[Exception], words: str) -> None:
    x, y = b.input("x", TensorSpec(("batch", 3))), b.input("y", other)
    with pytest.raises(error, match=words):
        b.op("MatMul", x, y)


def test_unknown_operators_and_wrong_counts(b: Builder) -> None:
    x = b.input("x", TensorSpec((3,)))
    with pytest.raises(GraphError, match=r"operator ai\.onnx::Swoosh does not exist at opset 23"):
        b.op("Swoosh", x)
    with pytest.raises(GraphError, match=r"'TopK' TopK\(float32\[3\], int64\[1\]\): .*output size 1 not in range"):
        b.op("TopK", x, [2])
    with pytest.raises(GraphError, match="Relu takes 1 to 1 inputs, received 2"):
        b.op("Relu", x, x)


def test_numbers_take_the_dtype_beside_them(b: Builder) -> None:
    x, n = b.input("x", TensorSpec((2,), "float64")), b.input("n", TensorSpec((2,), "int64"))
    assert (x * 2).dtype == "float64"
    assert (1 - n).dtype == "int64"
    assert (1.5 / x).dtype == "float64"
    assert b.op("Where", x > 0.0, x, 0.0).dtype == "float64"
    with pytest.raises(DtypeError, match=r"the dtype of the bare number 1\.0 is unknown"):
        b.op("Relu", 1.0)


def test_equal_constants_are_one(b: Builder) -> None:
    x = b.input("x", TensorSpec((2,)))
    b.output("y", (x + 2.0) * 2.0 + np.float32(2))
    assert len(b.finish().model.graph.initializers) == 1


def test_constants_of_other_types_are_others(b: Builder) -> None:
    assert b.constant(1.0, "float32").value is not b.constant(1.0, "float64").value
    assert b.constant(np.zeros((1, 2))).value is not b.constant(np.zeros((2, 1))).value


def test_names_follow_the_scopes(b: Builder) -> None:
    x = b.input("x", TensorSpec((2,)))
    with b.scope("outer"), b.scope("inner"):
        assert b.path == "outer.inner"
        first = b.op("Relu", x)
        second = b.op("Relu", first)
        with b.at("elsewhere"):
            third = b.op("Relu", second)
        assert b.path == "outer.inner"
    names = [n.name for n in b.graph]
    assert names == ["outer.inner.Relu", "outer.inner.Relu_1", "elsewhere.Relu"]
    assert third.value.name == "elsewhere.Relu.out"


def test_names_are_unique(b: Builder) -> None:
    b.input("x", TensorSpec((2,)))
    with pytest.raises(GraphError, match="name 'x' is taken"):
        b.parameter("x", np.zeros(2, np.float32))
    with pytest.raises(GraphError, match="output name 'x' is taken"):
        b.output("x", b.constant(1.0))


def test_optional_inputs_and_outputs(b: Builder) -> None:
    x = b.input("x", TensorSpec(("n", 1, 4, 4)))
    clipped = b.op("Clip", x, None, 1.0)
    y, indices = b.ops("MaxPool", clipped, outputs=2, kernel_shape=[2, 2])
    assert indices.spec == TensorSpec(("n", 1, 3, 3), "int64")
    b.output("y", y)
    b.output("i", indices)
    graph = b.finish()
    onnx.checker.check_model(graph.proto(), full_check=True)
    (node,) = [n for n in graph.model.graph if n.op_type == "Clip"]
    assert node.inputs[1] is None


def test_one_value_can_be_several_outputs(b: Builder) -> None:
    x = b.input("x", TensorSpec((2,)))
    y = b.op("Relu", x)
    b.output("a", y)
    b.output("b", y)
    b.output("c", x)
    graph = b.finish()
    assert graph.outputs == ("a", "b", "c")
    values = run_graph(graph, {"x": np.array([-1, 1], np.float32)})
    assert [v.tolist() for v in values] == [[0, 1], [0, 1], [-1, 1]]


def test_a_finished_graph_has_its_sets_in_order(b: Builder) -> None:
    buffer = b.buffer("state", np.zeros(2, np.float32))
    w = b.parameter("w", np.ones(2, np.float32))
    v = b.parameter("v", np.ones(2, np.float32), trainable=False)
    x = b.input("x", TensorSpec(("n", 2)))
    mask = b.stream(TensorSpec(("n", 2)), 0.25)
    y = b.op("Where", mask, x * w * v, 0.0)
    b.output("y", y)
    b.update("state", buffer + 1.0)
    graph = b.finish()
    assert [i.name for i in graph.model.graph.inputs] == ["x", "w", "v", "state", "mask"]
    assert [o.name for o in graph.model.graph.outputs] == ["y", graph.updates["state"]]
    assert graph.trainable == ("w",)
    assert graph.frozen == {"v"}
    assert graph.streams["mask"].rate == 0.25


def test_an_update_that_is_an_output_too_has_a_value_of_its_own(b: Builder) -> None:
    x = b.input("x", TensorSpec((2,)))
    buffer = b.buffer("state", np.zeros(2, np.float32))
    new = buffer + x
    b.output("new", new)
    b.update("state", new)
    graph = b.finish()
    assert graph.updates["state"] != "new"
    a, c = run_graph(graph, {"x": np.ones(2, np.float32)})
    np.testing.assert_array_equal(a, c)


def test_extending_goes_on_where_a_graph_stopped(b: Builder) -> None:
    x = b.input("x", TensorSpec(("n", 2)))
    b.output("y", x * b.parameter("w", np.full(2, 3, np.float32)))
    graph = b.finish()
    more = Builder.extending(graph)
    with more.active():
        more.output("z", more.outputs_so_far()["y"] + 1.0)
    longer = more.finish()
    assert (graph.outputs, longer.outputs) == (("y",), ("y", "z"))
    assert len(list(graph.model.graph)) == 1
    y, z = run_graph(longer, {"x": np.ones((1, 2), np.float32)})
    np.testing.assert_array_equal(z, y + 1)


def test_no_builder_outside_a_trace() -> None:
    with pytest.raises(GraphError, match="no graph is being built"):
        current_builder()


def test_a_tensor_has_no_truth_value(b: Builder) -> None:
    x = b.input("x", TensorSpec((2,)))
    with pytest.raises(TypeError, match=r"nn\.functional\.where"):
        bool(x > 0.0)
    assert repr(x) == "Tensor('x', float32[2])"


def test_reshape_does_not_take_an_unknown_size_for_one() -> None:
    """(a, ?) to (-1,) has a size that nobody knows; (a, 2) to (-1, 2) is as long as a."""
    b = Builder()
    x = b.input("x", TensorSpec(("a", "b"), "float32"))
    cut = b.op("Slice", x, [0], [2], [1])
    assert cut.spec.shape == ("a", None)
    assert b.op("Reshape", cut, [-1]).spec.shape == (None,)
    assert b.op("Reshape", cut, [1, -1]).spec.shape == (1, None)
    assert b.op("Reshape", b.input("y", TensorSpec(("a", 2), "float32")), [-1, 2]).spec.shape == ("a", 2)
