"""Constants become parameters without changing what the graph means."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import polymodel as pm
from polymodel.artifact.floor import meaning
from polymodel.graph import Graph
from polymodel.passes.promote import promote


def dense() -> Graph:
    weight = np.arange(6, dtype=np.float32).reshape(3, 2)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weight"], ["s"]), helper.make_node("Add", ["s", "shift"], ["y"])],
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(np.ones(2, np.float32), "shift")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return pm.load_onnx(model, trainable="none")


def test_named_constants_become_parameters() -> None:
    before = dense()
    constants = {n: v.const_value for n, v in before.model.graph.initializers.items()}
    name = next(n for n, c in constants.items() if c is not None and c.numpy().shape == (3, 2))
    after = promote(before, [name])
    assert set(after.parameters) == {*before.parameters, name}
    assert name not in after.model.graph.initializers
    assert name in before.model.graph.initializers
    x = {"x": np.ones((2, 3), np.float32)}
    np.testing.assert_array_equal(meaning(after, x)["y"].value, meaning(before, x)["y"].value)


def test_no_names_leave_the_graph() -> None:
    graph = dense()
    assert promote(graph, []) is graph
