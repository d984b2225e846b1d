"""Quantization and products of quantized numbers on all backends, against the standard's formulas in float64 and int64."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from polymodel.artifact.load import load_onnx
from polymodel.passes.carriers import FLOATS, INTEGERS
from polymodel.registry import compile
from polymodel.spec import array_dtype, numpy_dtype, onnx_dtype

Arrays = dict[str, np.ndarray]

pytestmark = pytest.mark.parametrize("backend", ["torch", "tensorflow", "mxnet"])


def run(backend: str, op_type: str, feeds: dict[str, np.ndarray | None], fixed: tuple[str, ...] = (), **attributes: Any) -> np.ndarray:
    given = {n: a for n, a in feeds.items() if a is not None}
    node = helper.make_node(op_type, [n if a is not None else "" for n, a in feeds.items()], ["y"], **attributes)
    inputs = [
        helper.make_tensor_value_info(n, onnx_dtype(array_dtype(a)).value, a.shape)
        for n, a in given.items() if n not in fixed
    ]  # fmt: skip
    stored = [onnx.numpy_helper.from_array(given[n], n) for n in fixed]
    graph = helper.make_graph([node], "q", inputs, [helper.make_empty_tensor_value_info("y")], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", onnx.defs.onnx_opset_version())])
    loaded = load_onnx(onnx.shape_inference.infer_shapes(model), trainable="none")
    got: Arrays = compile(loaded, backend, "cpu").predict({n: a for n, a in given.items() if n not in fixed})
    return got["y"]


def spread(part: np.ndarray, shape: tuple[int, ...], axis: int, block: int) -> np.ndarray:
    if part.ndim == 0:
        return part
    if block:
        return np.repeat(part, block, axis)[tuple(slice(0, n) for n in shape)]
    return part.reshape([-1 if a == axis else 1 for a in range(len(shape))])


def windows_of(x: np.ndarray) -> np.ndarray:
    """The 3x3 windows of the last two axes: (n, c, rows, columns, 3, 3)."""
    rows, columns = x.shape[2] - 2, x.shape[3] - 2
    rows, columns = x.shape[2] - 2, x.shape[3] - 2
    parts = [x[:, :, i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    windows: np.ndarray = np.stack(parts, -1).reshape(*x.shape[:2], rows, columns, 3, 3)
    return windows


def granularity(kind: str, shape: tuple[int, ...]) -> tuple[tuple[int, ...], int, int]:
    """Shape of the scale, axis, block size; the last block is cut off."""
    axis, block = 1, 3
    blocks = -(-shape[axis] // block)
    return {"tensor": (), "axis": (shape[axis],), "block": (shape[0], blocks, *shape[2:])}[kind], axis, (block if kind == "block" else 0)


@pytest.mark.parametrize("kind", ["tensor", "axis", "block"])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int4", "uint4", "int2", "uint2"])
def test_integers_there_and_back(backend: str, dtype: str, kind: str) -> None:
    draw, shape = np.random.default_rng(3), (2, 5, 3)
    part, axis, block = granularity(kind, shape)
    scale = np.exp2(draw.integers(-3, 2, part)).astype(np.float32)  # exact quotients: ties are ties
    low, high = INTEGERS[dtype].low, INTEGERS[dtype].high
    zero = draw.integers(low, high + 1, part).astype(numpy_dtype(dtype))
    steps = draw.integers(2 * low - 4, 2 * high + 4, shape) / 2  # half steps, beyond both ends
    x = (steps * spread(scale, shape, axis, block)).astype(np.float32)
    got = run(backend, "QuantizeLinear", {"x": x, "s": scale, "z": zero}, axis=axis, block_size=block)
    offset = spread(zero.astype(np.int64), shape, axis, block)
    want = np.clip(np.rint(steps).astype(np.int64) + offset, low, high)
    assert got.dtype == numpy_dtype(dtype)
    np.testing.assert_array_equal(got.astype(np.int64), want)
    back = run(backend, "DequantizeLinear", {"x": got, "s": scale, "z": zero}, axis=axis, block_size=block)
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, ((want - offset) * spread(scale, shape, axis, block)).astype(np.float32))


@pytest.mark.parametrize("dtype", ["float8e4m3fn", "float8e5m2fnuz", "float4e2m1"])
def test_small_floats_there_and_back(backend: str, dtype: str) -> None:
    x = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32) * 300
    scale = np.array([0.25, 2.0, 0.5, 1.0], np.float32)
    got = run(backend, "QuantizeLinear", {"x": x, "s": scale}, output_dtype=onnx_dtype(dtype).value)
    largest = FLOATS[dtype].largest
    want = np.clip(x / scale, -largest, largest).astype(numpy_dtype(dtype)).astype(np.float32)
    np.testing.assert_array_equal(got.astype(np.float32), want)
    back = run(backend, "DequantizeLinear", {"x": got, "s": scale}, axis=-1)
    np.testing.assert_array_equal(back, want * scale)


def test_precision_of_the_quotient(backend: str) -> None:
    """In float16 a dividend or a quotient loses its last bits."""
    x, scale = np.array([1001.0, 1003.0, 2049.0], np.float32), np.array(2.0, np.float32)
    half = run(backend, "QuantizeLinear", {"x": x, "s": scale}, output_dtype=onnx_dtype("uint16").value, precision=10)
    want = np.rint((x.astype(np.float16) / scale.astype(np.float16)).astype(np.float32))
    full = run(backend, "QuantizeLinear", {"x": x, "s": scale}, output_dtype=onnx_dtype("uint16").value)
    np.testing.assert_array_equal(half, want.astype(np.uint16))
    np.testing.assert_array_equal(full, np.rint(x / scale).astype(np.uint16))


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
@pytest.mark.parametrize("inner", [5, 700])
def test_integer_products_are_exact(backend: str, kind: type[Any], inner: int) -> None:
    info, draw = np.iinfo(kind), np.random.default_rng(inner)
    a, b = draw.integers(info.min, info.max + 1, (2, 3, inner)), draw.integers(info.min, info.max + 1, (inner, 4))
    a[0, 0], b[:, 0] = info.max, info.max
    za, zb = np.array(info.min, kind), draw.integers(info.min, info.max + 1, 4).astype(kind)
    got = run(backend, "MatMulInteger", {"a": a.astype(kind), "b": b.astype(kind), "za": za, "zb": zb})
    np.testing.assert_array_equal(got, (a - int(za)) @ (b - zb.astype(np.int64)))
    assert got.dtype == np.int32


@pytest.mark.parametrize("channels", [2, 40])
def test_integer_convolution_is_exact(backend: str, channels: int) -> None:
    draw = np.random.default_rng(channels)
    x = draw.integers(0, 256, (1, channels, 6, 5)).astype(np.uint8)
    w = draw.integers(0, 256, (4, channels, 3, 3)).astype(np.uint8)
    zx, zw = np.array(7, np.uint8), np.array([3, 250, 0, 128], np.uint8)
    got = run(backend, "ConvInteger", {"x": x, "w": w, "zx": zx, "zw": zw}, pads=[1, 0, 0, 1], strides=[2, 1])
    wide = np.pad(x.astype(np.int64) - 7, ((0, 0), (0, 0), (1, 0), (0, 1)))
    weight = w.astype(np.int64) - zw.reshape(4, 1, 1, 1)
    windows = windows_of(wide)[:, :, ::2]
    np.testing.assert_array_equal(got, np.einsum("ncijkl,ockl->noij", windows, weight))
    assert got.dtype == np.int32


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_quantized_product(backend: str, kind: type[Any]) -> None:
    info, draw = np.iinfo(kind), np.random.default_rng(8)
    a, b = (draw.integers(info.min, info.max + 1, s).astype(kind) for s in ((3, 6), (6, 4)))
    za, zb, zy = (np.array(v, kind) for v in (11, 100, 5))
    sa, sb, sy = (np.array(v, np.float32) for v in (0.01, 0.02, 0.125))
    feeds: dict[str, np.ndarray | None] = {"a": a, "sa": sa, "za": za, "b": b, "sb": sb, "zb": zb, "sy": sy, "zy": zy}
    got = run(backend, "QLinearMatMul", feeds)
    sums = (a.astype(np.int64) - 11) @ (b.astype(np.int64) - 100)
    want = np.clip(np.rint(sums * float(sa * sb / sy)) + 5, info.min, info.max).astype(kind)
    np.testing.assert_array_equal(got, want)


def test_quantized_convolution(backend: str) -> None:
    draw = np.random.default_rng(9)
    x = draw.integers(0, 256, (2, 3, 5, 5)).astype(np.uint8)
    w = draw.integers(0, 256, (4, 3, 3, 3)).astype(np.uint8)
    scales, bias = np.array([0.01, 0.02, 0.005, 0.03], np.float32), np.array([900, -3000, 0, 12345], np.int32)
    zeros = np.array([120, 130, 128, 0], np.uint8)
    feeds: dict[str, np.ndarray | None] = {
        "x": x, "sx": np.array(0.02, np.float32), "zx": np.array(131, np.uint8), "w": w, "sw": scales, "zw": zeros,
        "sy": np.array(0.5, np.float32), "zy": np.array(9, np.uint8), "bias": bias,
    }  # fmt: skip
    got = run(backend, "QLinearConv", feeds, fixed=("w", "sw", "zw"), group=1)
    windows = windows_of(x.astype(np.int64) - 131)
    sums = np.einsum("ncijkl,ockl->noij", windows, w.astype(np.int64) - zeros.reshape(4, 1, 1, 1))
    factor = (np.float32(0.02) * scales / np.float32(0.5)).astype(np.float64).reshape(4, 1, 1)
    want = np.clip(np.rint((sums + bias.reshape(4, 1, 1)) * factor) + 9, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(got, want)


def test_dynamic_quantization(backend: str) -> None:
    x = np.random.default_rng(2).normal(size=(4, 5)).astype(np.float32) * 3 + 2
    node = helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"])
    outs = [helper.make_empty_tensor_value_info(n) for n in ("y", "s", "z")]
    infos = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x.shape)]
    model = helper.make_model(helper.make_graph([node], "d", infos, outs), opset_imports=[helper.make_opsetid("", 23)])
    loaded = load_onnx(onnx.shape_inference.infer_shapes(model), trainable="none")
    got = compile(loaded, backend, "cpu").predict({"x": x})
    for name, want in zip(("y", "s", "z"), ReferenceEvaluator(model).run(None, {"x": x}), strict=True):
        assert got[name].dtype == np.asarray(want).dtype
        np.testing.assert_allclose(got[name], want, rtol=2e-7)
