"""What oneDNN computed in its blocked layout is reshaped, then used by kernels that want the usual order."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import polymodel as pm


def convolved(rest: list[onnx.NodeProto], stored: dict[str, Any], shape: list[int]) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    arrays = {k: np.asarray(v) if not isinstance(v, tuple) else 0.1 * rng.standard_normal(v) for k, v in stored.items()}
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["c"]), *rest],
        "g",
        [helper.make_tensor_value_info("x", 1, shape)],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(a if a.dtype == np.int64 else a.astype(np.float32), n) for n, a in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)


SUM = [
    helper.make_node("Reshape", ["c", "to"], ["r"]),
    helper.make_node("Relu", ["r"], ["q"]),
    helper.make_node("Add", ["r", "q"], ["y"]),
]
STEPS = [
    helper.make_node("Reshape", ["c", "to"], ["r"]),
    helper.make_node("LSTM", ["r", "W", "R", "B"], ["y"], hidden_size=8),
]


@pytest.mark.parametrize(
    ("rest", "stored", "shape"),
    [
        (SUM, {"w": (64, 16, 5, 1), "to": [2, 64, 60]}, [2, 16, 64, 1]),
        (SUM, {"w": (64, 16, 5, 1), "to": [2, 8, 8, 60]}, [2, 16, 64, 1]),
        (SUM, {"w": (64, 16, 5, 1), "to": [2, 3840]}, [2, 16, 64, 1]),
        (STEPS, {"w": (32, 16, 3), "to": [4, 1, 32], "W": (1, 32, 32), "R": (1, 32, 8), "B": (1, 64)}, [1, 16, 6]),
    ],
    ids=["squeezed", "regrouped", "flattened", "steps"],
)
def test_a_reshaped_convolution(rest: list[onnx.NodeProto], stored: dict[str, Any], shape: list[int]) -> None:
    graph = pm.load_onnx(convolved(rest, stored, shape))
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    got = pm.compile(graph, "mxnet").predict({"x": x})["y"]
    np.testing.assert_allclose(got, pm.compile(graph, "torch").predict({"x": x})["y"], rtol=1e-5, atol=1e-6)
