"""What oneDNN computed in its blocked layout, met by kernels that want the usual order of elements.

The layout is taken from 8 channels on: everything here has 16 or 32, in one and two dimensions, with derivatives.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import polymodel as pm

N = helper.make_node
RNG = np.random.default_rng(0)


def f32(*shape: int) -> np.ndarray:
    return (0.1 * RNG.standard_normal(shape)).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def behind_a_convolution(nodes: list[onnx.NodeProto], stored: dict[str, np.ndarray], dim: int) -> onnx.ModelProto:
    """x -> Conv -> Relu -> c -> the nodes -> y."""
    first = [N("Conv", ["x", "w"], ["c0"], pads=[1] * (2 * dim)), N("Relu", ["c0"], ["c"])]
    arrays = {"w": f32(32, 32, *[3] * dim), **stored}
    graph = helper.make_graph(
        [*first, *nodes],
        "g",
        [helper.make_tensor_value_info("x", 1, [2, 32, *[8] * dim])],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(a, n) for n, a in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)


def cases(d: int) -> dict[str, tuple[list[onnx.NodeProto], dict[str, np.ndarray]]]:
    space = [8] * d
    last = [0, *range(2, 2 + d), 1]
    return {
        "softmax": ([N("Softmax", ["c"], ["y"])], {}),
        "layer_norm": ([N("LayerNormalization", ["c", "g"], ["y"])], {"g": f32(8)}),
        "batch_norm": (
            [N("BatchNormalization", ["c", "g", "b", "m", "v"], ["y"])],
            {"g": f32(32), "b": f32(32), "m": f32(32), "v": np.ones(32, np.float32)},
        ),
        "regrouped_sum": (
            [N("Reshape", ["c", "s"], ["r"]), N("Tanh", ["r"], ["t"]), N("Add", ["r", "t"], ["y"])],
            {"s": ints(2, 4, 8, *space)},
        ),
        "flattened_sum": (
            [N("Flatten", ["c"], ["r"]), N("Tanh", ["r"], ["t"]), N("Add", ["r", "t"], ["y"])],
            {},
        ),
        "dense": (
            [N("Flatten", ["c"], ["r"]), N("MatMul", ["r", "k"], ["y"])],
            {"k": f32(32 * 8**d, 3)},
        ),
        "shuffled": (
            [
                N("Reshape", ["c", "s"], ["r"]),
                N("Transpose", ["r"], ["t"], perm=[0, 2, 1, *range(3, 3 + d)]),
                N("Reshape", ["t", "back"], ["u"]),
                N("Conv", ["u", "k"], ["y"]),
            ],
            {"s": ints(2, 4, 8, *space), "back": ints(2, 32, *space), "k": f32(32, 32, *[1] * d)},
        ),
        "last": (
            [N("Transpose", ["c"], ["t"], perm=last), N("Tanh", ["t"], ["u"]), N("Add", ["t", "u"], ["y"])],
            {},
        ),
        "recurrence": (
            [
                N("Reshape", ["c", "s"], ["r"]),
                N("Transpose", ["r"], ["t"], perm=[2, 0, 1]),
                N("LSTM", ["t", "W", "R"], ["y"], hidden_size=8),
            ],
            {"s": ints(2, 32, -1), "W": f32(1, 32, 32), "R": f32(1, 32, 8)},
        ),
        "deconvolution": (
            [N("ConvTranspose", ["c", "k"], ["t"], strides=[2] * d), N("Relu", ["t"], ["y"])],
            {"k": f32(32, 32, *[2] * d)},
        ),
    }


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("name", list(cases(1)))
def test_behind_a_convolution(name: str, d: int) -> None:
    graph = pm.load_onnx(behind_a_convolution(*cases(d)[name], d))
    x = np.random.default_rng(1).standard_normal((2, 32, *[8] * d)).astype(np.float32)
    mine, other = (pm.compile(graph, backend, "cpu") for backend in ("mxnet", "torch"))
    got, want = mine.predict({"x": x})["y"], other.predict({"x": x})["y"]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    v = np.random.default_rng(2).standard_normal(want.shape).astype(np.float32)
    derivatives: list[dict[str, Any]] = [p.gradients({"x": x}, {"y": v}) for p in (mine, other)]
    for key, value in derivatives[1].items():
        np.testing.assert_allclose(derivatives[0][key], value, rtol=1e-3, atol=1e-4 * np.abs(value).max() + 1e-6, err_msg=key)
