"""Which stored tensors of somebody else's file are trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from polymodel.artifact.load import load_onnx
from polymodel.errors import ArtifactError
from polymodel.graph import Graph

RNG = np.random.default_rng(0)


def f32(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def foreign(
    nodes: Sequence[onnx.NodeProto],
    stored: dict[str, np.ndarray],
    shape: Sequence[Any] = ("n", 4),
    output: int = TensorProto.FLOAT,
    opset: int = 17,
    rank: int = 2,
    **more: Any,
) -> onnx.ModelProto:
    """A model as another exporter writes it: input x, output y."""
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("x", more.pop("dtype", TensorProto.FLOAT), shape)],
        [helper.make_tensor_value_info("y", output, [None] * rank)],
        [numpy_helper.from_array(a, n) for n, a in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def roles(graph: Graph) -> tuple[set[str], set[str]]:
    return set(graph.parameters), set(graph.buffers)


def test_a_dense_layer_of_matmul_and_add() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Add", ["b", "h"], ["y"])]
    assert roles(load_onnx(foreign(nodes, {"w": f32(4, 3), "b": f32(3)}))) == ({"w", "b"}, set())


def test_a_weight_behind_transpose_reshape_and_cast() -> None:
    nodes = [
        helper.make_node("Cast", ["w"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["c", "shape"], ["r"]),
        helper.make_node("Transpose", ["r"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    ]
    stored = {"w": f32(12).astype(np.float64), "shape": np.array([3, 4])}
    assert roles(load_onnx(foreign(nodes, stored))) == ({"w"}, set())


def test_weights_in_constant_nodes() -> None:
    weight = helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(f32(4, 3)))
    graph = load_onnx(foreign([weight, helper.make_node("MatMul", ["x", "w"], ["y"])], {}))
    assert roles(graph) == ({"w"}, set())
    assert [n.op_type for n in graph.model.graph] == ["MatMul"]


def test_scalars_and_what_is_not_floating_point_stay_constant() -> None:
    nodes = [
        helper.make_node("Mul", ["x", "half"], ["a"]),
        helper.make_node("Clip", ["a", "low", "high"], ["b"]),
        helper.make_node("Gather", ["b", "index"], ["y"], axis=1),
    ]
    stored = {n: np.asarray(v, np.float32) for n, v in (("half", 0.5), ("low", -1), ("high", 1))}
    assert roles(load_onnx(foreign(nodes, {**stored, "index": np.array([0, 2])}))) == (set(), set())


def test_batch_normalization_statistics_are_buffers() -> None:
    names = ("scale", "bias", "mean", "var")
    nodes = [helper.make_node("BatchNormalization", ["x", *names], ["y"])]
    graph = load_onnx(foreign(nodes, {n: np.abs(f32(4)) for n in names}))
    assert roles(graph) == ({"scale", "bias"}, {"mean", "var"})


def test_an_embedding_and_an_lstm() -> None:
    nodes = [
        helper.make_node("Gather", ["table", "x"], ["e"]),
        helper.make_node("LSTM", ["e", "w", "r", "b"], ["y"], hidden_size=2),
    ]
    stored = {"table": f32(10, 3), "w": f32(1, 8, 3), "r": f32(1, 8, 2), "b": f32(1, 16)}
    graph = load_onnx(foreign(nodes, stored, ("t", "n"), rank=4, dtype=TensorProto.INT64))
    assert roles(graph) == (set(stored), set())


def test_a_weight_on_a_path_without_derivative_is_constant() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("ArgMax", ["h"], ["y"], axis=1),
    ]
    model = foreign(nodes, {"w": f32(4, 3)}, output=TensorProto.INT64)
    assert roles(load_onnx(model)) == (set(), set())


def test_what_depends_on_no_input_is_no_layer() -> None:
    nodes = [helper.make_node("Add", ["a", "b"], ["s"]), helper.make_node("Mul", ["x", "s"], ["y"])]
    assert roles(load_onnx(foreign(nodes, {"a": f32(4), "b": f32(4)}))) == (set(), set())


def test_the_user_decides() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Sub", ["h", "mean"], ["y"])]
    model = foreign(nodes, {"w": f32(4, 3), "mean": f32(3)})
    assert roles(load_onnx(model))[0] == {"w"}
    assert roles(load_onnx(model, trainable="all"))[0] == {"w", "mean"}
    assert roles(load_onnx(model, trainable="none"))[0] == set()
    assert roles(load_onnx(model, trainable=["me*"]))[0] == {"mean"}
    with pytest.raises(ArtifactError, match=r"'head\*' matches no floating-point tensor .* w, mean"):
        load_onnx(model, trainable=["head*"])


@pytest.mark.parametrize("ir_version", [3, 8])
def test_initializers_listed_as_inputs(ir_version: int) -> None:
    model = foreign([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": f32(4, 3)}, opset=9)
    model.ir_version = ir_version
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 3]))
    graph = load_onnx(model)
    assert graph.inputs == ("x",)
    assert set(graph.parameters) == {"w"}


@pytest.mark.parametrize(
    "claim",
    [
        '{"parameters":["x"],"buffers":[],"frozen":[]}',
        '{"parameters":["w","w"],"buffers":[],"frozen":[]}',
        '{"parameters":["index"],"buffers":[],"frozen":[]}',
        '{"parameters":["nowhere"],"buffers":[],"frozen":[]}',
        '{"parameters":[],"buffers":["w"],"frozen":[]}',
        '{"parameters":[1],"buffers":[],"frozen":[]}',
        '{"parameters":"w","buffers":[],"frozen":[]}',
        "[" * 100_000,
        "null",
        "{",
    ],
)
def test_metadata_that_is_not_true_is_not_believed(claim: str) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Gather", ["h", "index"], ["y"], axis=1)]
    model = foreign(nodes, {"w": f32(4, 3), "index": np.array([0, 2])}, opset=23)
    helper.set_model_props(model, {"polymodel.roles": claim, "polymodel.graph_hash": "0" * 64})
    assert roles(load_onnx(model)) == ({"w"}, set())
