"""What a file declares of its outputs is believed where it fits."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import polymodel as pm
from polymodel.errors import ArtifactError


def reshaped(declared: list[str | int | None]) -> onnx.ModelProto:
    """y = Reshape(x, [rows, 1, -1]) with rows from the shape of x, as PyTorch exported it at opset 12."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["rows"], axis=0),
        helper.make_node("Unsqueeze", ["rows"], ["first"], axes=[0]),
        helper.make_node("Concat", ["first", "one", "rest"], ["sizes"], axis=0),
        helper.make_node("Reshape", ["x", "sizes"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, declared)],
        [numpy_helper.from_array(np.array(0), "zero")]
        + [numpy_helper.from_array(np.array([n]), name) for name, n in (("one", 1), ("rest", -1))],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=7)


@pytest.mark.parametrize("declared", [["rows", "columns"], ["rows", 1, 4]], ids=["wrong", "right"])
def test_a_wrong_number_of_axes_is_not_believed(declared: list[str | int | None]) -> None:
    graph = pm.load_onnx(reshaped(declared))
    assert graph.specs["y"].rank == 3
    got = pm.compile(graph, "torch", "cpu").predict({"x": np.ones((2, 4), np.float32)})["y"]
    assert got.shape == (2, 1, 4)


def test_maps_are_named() -> None:
    graph = helper.make_graph(
        [helper.make_node("ZipMap", ["p"], ["z"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])],
        "g",
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", 2])],
        [onnx.ValueInfoProto(name="z")],
    )
    kind = graph.output[0].type.sequence_type.elem_type.map_type
    kind.key_type = TensorProto.INT64
    kind.value_type.tensor_type.elem_type = TensorProto.FLOAT
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("ai.onnx.ml", 1)], ir_version=7)
    with pytest.raises(ArtifactError, match=r"'z' holds maps .*export without ZipMap"):
        pm.load_onnx(model)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul"])
def test_a_column_and_a_row_are_no_lists_of_sizes(op: str) -> None:
    """The size propagation of the onnx package keeps the 3 of a vector (3) for the column (3, 1) that is made of it."""
    nodes = [
        helper.make_node("Div", ["x", "a"], ["b"]),
        helper.make_node("Unsqueeze", ["b", "axis"], ["column"]),
        helper.make_node("Identity", ["stored"], ["row"]),
        helper.make_node(op, ["column", "row"], ["y"]),
    ]
    a, row = np.arange(1, 4, dtype=np.float32), np.arange(1, 6, dtype=np.float32)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 5])],
        [numpy_helper.from_array(v, n) for n, v in (("a", a), ("stored", row), ("axis", np.array([-1])))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(onnx.shape_inference.InferenceError, match="Invalid rank"):  # else the detour can go
        onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    ones = np.ones((3, 1), np.float32)
    expected = {"Add": ones + row, "Sub": ones - row, "Mul": ones * row}[op]
    got = pm.compile(pm.load_onnx(model), "torch", "cpu").predict({"x": a})["y"]
    np.testing.assert_array_equal(got, expected)
