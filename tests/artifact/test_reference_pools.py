"""The pools of the oracle mean what ONNX Runtime computes, on every number of axes and with every attribute."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from polymodel.artifact.reference_ops import replaced

CALLS: dict[str, dict[str, Any]] = {
    "plain": {"kernel_shape": [3, 2]},
    "strides": {"kernel_shape": [3, 3], "strides": [2, 1]},
    "four-pads": {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 1, 2, 1]},
    "ceil": {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    "ceil-pads": {"kernel_shape": [2, 2], "strides": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1},
    "upper": {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    "lower": {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"},
    "valid": {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "VALID"},
    "dilations": {"kernel_shape": [3, 2], "dilations": [2, 3], "pads": [1, 1, 1, 1]},
    "one-axis": {"kernel_shape": [3], "pads": [1, 0], "strides": [2]},
    "three-axes": {"kernel_shape": [2, 3, 2], "pads": [1, 0, 1, 0, 1, 0], "strides": [1, 2, 2]},
}
MORE = {"MaxPool": [{}, {"storage_order": 1}], "AveragePool": [{}, {"count_include_pad": 1}]}


def both(op_type: str, x: np.ndarray, call: dict[str, Any], outputs: int) -> tuple[list[Any], list[Any]]:
    names = ["y", "places"][:outputs]
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    graph = helper.make_graph(
        [helper.make_node(op_type, ["x"], names, **call)],
        "pool",
        [helper.make_tensor_value_info("x", kind, x.shape)],
        [helper.make_tensor_value_info(n, k, None) for n, k in zip(names, (kind, TensorProto.INT64), strict=False)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    ours = list(ReferenceEvaluator(model, new_ops=replaced()).run(None, {"x": x}))
    return ours, session.run(None, {"x": x})


@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("op_type", MORE)
def test_as_onnx_runtime(op_type: str, name: str, more: int) -> None:
    call = {**CALLS[name], **MORE[op_type][more]}
    sizes = (7, 8, 6)[: len(call["kernel_shape"])]
    x = np.random.default_rng(0).standard_normal((2, 3, *sizes)).astype(np.float32)
    got, expected = both(op_type, x, call, 2 if op_type == "MaxPool" else 1)
    np.testing.assert_allclose(got[0], expected[0], rtol=1e-6, atol=1e-7)
    assert got[0].dtype == expected[0].dtype
    if op_type == "MaxPool":
        np.testing.assert_array_equal(got[1], expected[1])
        np.testing.assert_array_equal(both(op_type, x, call, 1)[0][0], got[0])


def test_integers_and_the_first_of_equals() -> None:
    x = np.array([[[[0, 200, 200], [200, 0, 0], [0, 0, 0]]]], np.uint8)
    got, expected = both("MaxPool", x, {"kernel_shape": [2, 2], "pads": [1, 1, 0, 0]}, 2)
    np.testing.assert_array_equal(got[0], expected[0])
    np.testing.assert_array_equal(got[1], expected[1])


def test_an_image_takes_no_minutes() -> None:
    x = np.zeros((1, 64, 112, 112), np.float32)
    start = time.process_time()
    call = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    both("MaxPool", x, call, 1)
    both("AveragePool", x, call, 1)
    assert time.process_time() - start < 5  # in Python, window by window: 60 s
