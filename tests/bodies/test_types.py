"""Element types on all backends, those that the frameworks lack included: values against Python integers and ml_dtypes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from polymodel.artifact.load import load_onnx
from polymodel.passes.carriers import FLOATS, INTEGERS, width
from polymodel.program import Program
from polymodel.registry import compile
from polymodel.spec import array_dtype, numpy_dtype, onnx_dtype

BACKENDS = ("torch", "tensorflow", "mxnet")
WHOLE = [n for n, k in INTEGERS.items() if k.bits >= 8]
SMALL_FLOATS = ["float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "float4e2m1", "bfloat16", "float16"]

pytestmark = [pytest.mark.parametrize("backend", BACKENDS), pytest.mark.filterwarnings("ignore:.*encountered in cast")]


def program_of(backend: str, nodes: Sequence[onnx.NodeProto], feeds: Mapping[str, np.ndarray]) -> Program:
    inputs = [helper.make_tensor_value_info(n, onnx_dtype(array_dtype(a)).value, [None] * a.ndim) for n, a in feeds.items()]
    outputs = [helper.make_empty_tensor_value_info(n) for node in nodes for n in node.output]
    graph = helper.make_graph(nodes, "types", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", onnx.defs.onnx_opset_version())])
    return compile(load_onnx(onnx.shape_inference.infer_shapes(model), trainable="none"), backend, "cpu")


def run(backend: str, nodes: Sequence[onnx.NodeProto], **feeds: np.ndarray) -> dict[str, np.ndarray]:
    return program_of(backend, nodes, feeds).predict(feeds)


def node(op_type: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), [output], **attributes)


def cast(target: str, output: str, x: str = "x", **attributes: Any) -> onnx.NodeProto:
    return node("Cast", x, output, to=onnx_dtype(target).value, **attributes)


def wrapped(value: int, dtype: str) -> int:
    kind = INTEGERS[dtype]
    return (value - kind.low) % (1 << kind.bits) + kind.low


def array(values: Sequence[int], dtype: str) -> np.ndarray:
    return np.array(values, "uint64" if dtype == "uint64" else "int64").astype(numpy_dtype(dtype))


def edges(dtype: str) -> list[int]:
    kind = INTEGERS[dtype]
    found = {kind.low, kind.low + 1, -1, 0, 1, 2, 3, 5, 7, kind.high // 2, kind.high // 2 + 1, kind.high - 1, kind.high}
    return sorted(v for v in found if kind.low <= v <= kind.high)


def same(got: np.ndarray, want: np.ndarray, what: str) -> None:
    assert got.dtype == want.dtype, what
    if got.dtype.itemsize == 1 or want.dtype.kind == "V":
        codes = f"u{want.dtype.itemsize}"
        np.testing.assert_array_equal(got.view(codes), want.view(codes), what)
    else:
        np.testing.assert_array_equal(got, want, what)


def _truncated(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _sign(v: int) -> int:
    return (v > 0) - (v < 0)


def _shift(a: int, b: int, dtype: str, left: bool) -> int:
    if not 0 <= b < INTEGERS[dtype].bits:
        return -1 if a < 0 and not left else 0
    return a << b if left else a >> b


@pytest.mark.parametrize("dtype", WHOLE)
def test_arithmetic_wraps(backend: str, dtype: str) -> None:
    pairs = list(itertools.product(edges(dtype), edges(dtype)))
    a, b = (np.array([p[i] for p in pairs], dtype) for i in (0, 1))
    sums = {"Add": int.__add__, "Sub": int.__sub__, "Mul": int.__mul__, "BitwiseAnd": int.__and__}
    sums |= {"BitwiseOr": int.__or__, "BitwiseXor": int.__xor__, "Min": min, "Max": max}
    truths = {"Less": int.__lt__, "GreaterOrEqual": int.__ge__, "Equal": int.__eq__}
    nodes = [node(op, "a b", op) for op in (*sums, *truths)]
    nodes += [node("BitShift", "a b", d, direction=d) for d in ("LEFT", "RIGHT")]
    nodes += [node(op, "a", op) for op in ("BitwiseNot", "Abs", "Sign")]
    got = run(backend, nodes, a=a, b=b)
    for op, f in sums.items():
        same(got[op], np.array([wrapped(f(x, y), dtype) for x, y in pairs], dtype), op)
    for op, g in truths.items():
        same(got[op], np.array([g(x, y) for x, y in pairs], bool), op)
    for direction in ("LEFT", "RIGHT"):
        shifted = [wrapped(_shift(x, y, dtype, direction == "LEFT"), dtype) for x, y in pairs]
        same(got[direction], np.array(shifted, dtype), direction)
    unary: dict[str, Callable[[int], int]] = {"BitwiseNot": int.__invert__, "Abs": abs, "Sign": _sign}
    for op, h in unary.items():
        same(got[op], np.array([wrapped(h(x), dtype) for x, _ in pairs], dtype), op)


@pytest.mark.parametrize("dtype", WHOLE)
def test_quotients_and_remainders(backend: str, dtype: str) -> None:
    every = itertools.product(edges(dtype), edges(dtype))
    pairs = [(x, y) for x, y in every if y and not (y == -1 and x == INTEGERS[dtype].low)]
    a, b = (np.array([p[i] for p in pairs], dtype) for i in (0, 1))
    nodes = [node("Div", "a b", "Div"), node("Mod", "a b", "Mod"), node("Mod", "a b", "fmod", fmod=1)]
    got = run(backend, nodes, a=a, b=b)
    same(got["Div"], np.array([_truncated(x, y) for x, y in pairs], dtype), "Div")
    same(got["Mod"], np.array([x % y for x, y in pairs], dtype), "Mod")
    same(got["fmod"], np.array([x - _truncated(x, y) * y for x, y in pairs], dtype), "fmod")


@pytest.mark.parametrize("source", list(INTEGERS))
def test_casts_of_integers(backend: str, source: str) -> None:
    """Low bits to other integers; the nearest number, ties to even, to floating point."""
    values = edges(source)
    if width(source) == 64:
        values += [(1 << 53) + 1, (1 << 53) + 3, (1 << 24) + 1, (1 << 62) + (1 << 38) + 1]
    x = array(values, source)
    targets = [t for t in (*INTEGERS, "bool", "float32", "float64") if t != source]
    got = run(backend, [cast(t, t) for t in targets], x=x)
    for target in targets:
        if target in INTEGERS:
            want = array([wrapped(v, target) for v in values], target)
        elif target == "bool":
            want = np.array([v != 0 for v in values])
        else:
            want = np.array(values, np.uint64 if source.startswith("u") else np.int64).astype(target)
        same(got[target], want, f"{source} -> {target}")


@pytest.mark.parametrize("target", SMALL_FLOATS)
def test_rounding_to_small_floats(backend: str, target: str) -> None:
    kind = numpy_dtype(target)
    codes = np.arange(1 << min(width(target), 8), dtype=np.uint8)
    grid = codes.view(kind).astype(np.float64) if kind.itemsize == 1 else np.linspace(-3.0, 3.0, 97)
    grid = np.sort(grid[np.isfinite(grid)])
    middle = (grid[1:] + grid[:-1]) / 2
    near = np.array([np.nextafter(np.float32(m), np.float32(s)) for m in middle for s in (9e9, -9e9)])
    draws = np.random.default_rng(0).normal(size=200) * 10.0 ** np.random.default_rng(1).integers(-6, 6, 200)
    ends = [0.0, -0.0, FLOATS[target].largest, FLOATS[target].largest * 1.04, 1e9, -1e9, 1e-30, -1e-30]
    x = np.concatenate([grid, middle, near, draws, ends, [np.inf, -np.inf]]).astype(np.float32)
    if target != "float4e2m1":
        x = np.append(x, np.float32(np.nan))
    got = run(backend, [cast(target, "y"), cast(target, "z", saturate=0), cast("float32", "back", "y")], x=x)
    largest = FLOATS[target].largest
    with np.errstate(all="ignore"):
        saturated = np.clip(x, -largest, largest).astype(kind) if target.startswith("float8") else x.astype(kind)
        plain = x.astype(kind)
    for name, want in (("y", saturated), ("z", plain)):
        assert got[name].dtype == kind
        a, b = got[name].astype(np.float32), want.astype(np.float32)
        np.testing.assert_array_equal(a, b, name)
        finite = ~np.isnan(b)
        np.testing.assert_array_equal(np.signbit(a[finite]), np.signbit(b[finite]), name)
    np.testing.assert_array_equal(got["back"], saturated.astype(np.float32))


@pytest.mark.parametrize(("mode", "saturate"), [("up", 1), ("down", 1), ("nearest", 1), ("up", 0), ("nearest", 0)])
def test_powers_of_two(backend: str, mode: str, saturate: int) -> None:
    x = np.array([1.0, 1.25, 1.5, 1.75, 3.0, 2.0**-126, 3e38, 0.124, 6.1, np.nan], np.float32)
    got = run(backend, [cast("float8e8m0", "y", round_mode=mode, saturate=saturate)], x=x)["y"]
    want = onnx.numpy_helper.to_float8e8m0(x, bool(saturate), mode)
    np.testing.assert_array_equal(got.view(np.uint8), want.view(np.uint8))


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
def test_bit_casts(backend: str, bits: int) -> None:
    codes = np.random.default_rng(bits).integers(0, 1 << 63, 60, np.uint64) * np.uint64(3)
    edge = [0, 1, 2, (1 << (bits - 1)) - 1, 1 << (bits - 1), (1 << bits) - 1]
    codes = np.append(codes, np.array(edge, np.uint64)).astype(f"u{bits // 8}")
    kinds = [t for t in (*WHOLE, "float64", "float32", *SMALL_FLOATS) if width(t) == bits]
    for source in kinds:
        x = codes.view(numpy_dtype(source))
        if "float" in source:  # a NaN keeps its place, not its bits
            x = x[np.isfinite(x.astype(np.float64)) if bits < 64 else np.isfinite(x)]
        targets = [t for t in kinds if t != source]
        got = run(backend, [node("BitCast", "x", t, to=onnx_dtype(t).value) for t in targets], x=x)
        for target in targets:
            want = x.view(numpy_dtype(target))
            assert got[target].dtype == want.dtype
            if "float" in target:
                a, b = got[target].astype(np.float64), want.astype(np.float64)
                np.testing.assert_array_equal(a, b, f"{source} -> {target}")
            else:
                np.testing.assert_array_equal(got[target], want, f"{source} -> {target}")


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_powers_wrap(backend: str, dtype: str) -> None:
    bases, exponents = [3, 7, 2, 5, 1, 0, 6, 11, -3, -1], [39, 3, 63, 27, 100, 0, 70, 18, 41, 7]
    feeds = {"a": np.array(bases, dtype), "b": np.array(exponents, dtype)}
    got = run(backend, [node("Pow", "a b", "y")], **feeds)["y"]
    same(got, np.array([wrapped(x**y, dtype) for x, y in zip(bases, exponents, strict=True)], dtype), dtype)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32"])
def test_matrix_products_wrap(backend: str, dtype: str) -> None:
    kind, draw = INTEGERS[dtype], np.random.default_rng(0)
    a, b = (draw.integers(kind.low, kind.high, s).astype(dtype) for s in ((2, 3, 4), (4, 5)))
    same(run(backend, [node("MatMul", "a b", "y")], a=a, b=b)["y"], a @ b, dtype)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32", "uint64"])
def test_reductions_and_order(backend: str, dtype: str) -> None:
    kind = INTEGERS[dtype]
    rows = [[kind.high, kind.high - 1, 3], [kind.low + 1, kind.low, 7]]
    every = [v for row in rows for v in row]
    x = np.array(rows, dtype)
    whole: dict[str, Callable[[list[int]], int]] = {"ReduceSum": sum, "ReduceMax": max, "ReduceMin": min, "ReduceProd": math.prod}
    nodes = [node(op, "x", op, keepdims=0) for op in whole]
    nodes.append(node("ArgMax", "x", "ArgMax", axis=1, keepdims=0))
    nodes.append(helper.make_node("TopK", ["x", "k"], ["values", "places"], axis=1))
    got = run(backend, nodes, x=x, k=np.array([2]))
    for op, f in whole.items():
        assert int(got[op]) == wrapped(f(every), dtype), op
    np.testing.assert_array_equal(got["ArgMax"], [0, 2])
    np.testing.assert_array_equal(got["values"], np.array([[kind.high, kind.high - 1], [7, kind.low + 1]], dtype))
