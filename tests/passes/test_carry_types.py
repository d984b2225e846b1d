"""Types that a framework lacks: what is touched, what is refused, and what gradients and state become."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import polymodel as pm
from polymodel import nn
from polymodel.backend import Backend, Training
from polymodel.builder import Builder
from polymodel.errors import Unsupported
from polymodel.graph import Graph
from polymodel.passes.carried import carried_plan
from polymodel.passes.carriers import carrier, decode, encode, is_carried
from polymodel.passes.carry_types import carry_types
from polymodel.passes.expand_functions import expand_functions
from polymodel.passes.specialize import specialize
from polymodel.registry import get_backend
from polymodel.spec import TensorSpec, numpy_dtype, onnx_dtype

HELD = frozenset({"float16", "float32", "float64", "int8", "uint8", "int32", "int64", "bool"})


@pytest.fixture(scope="module", params=["torch", "tensorflow", "mxnet"])
def backend(request: pytest.FixtureRequest) -> Backend:
    return get_backend(request.param)


def graph_of(*calls: tuple[str, str, dict[str, Any]], dtype: str, shape: tuple[int, ...] = (3,)) -> Graph:
    """A chain of calls of one input, or two of the same."""
    b = Builder()
    with b.active():
        value = x = b.input("x", TensorSpec(shape, dtype))
        for op_type, how, attributes in calls:
            value = b.op(op_type, *((value, x) if how == "with x" else (value,)), **attributes)
        b.output("y", value)
    return b.finish()


def test_a_plan_of_held_types_is_left_alone(backend: Backend) -> None:
    model = pm.Model(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), {"x": TensorSpec(("n", 4))}, ["y"])
    plan = expand_functions(specialize(model.graph, ("y",), {"n": 2}), backend.table)
    assert carry_types(plan, backend.capabilities().dtypes) is plan
    assert carried_plan(plan, backend) is plan


def test_moves_are_not_repaired() -> None:
    plan = specialize(graph_of(("Transpose", "", {}), ("Max", "with x", {}), dtype="uint16"), ("y",))
    carried = carry_types(plan, HELD)
    assert [n.op_type for n in carried.nodes] == ["Transpose", "Max"]
    assert {s.dtype for n in carried.nodes for s in n.outputs} == {"int32"}


def test_sums_are_repaired_at_once() -> None:
    plan = specialize(graph_of(("Add", "with x", {}), ("Mul", "with x", {}), dtype="uint16"), ("y",))
    assert [n.op_type for n in carry_types(plan, HELD).nodes] == ["Add", "BitwiseAnd", "Mul", "BitwiseAnd"]


@pytest.mark.parametrize("dtype", ["int2", "uint4", "int16", "uint32", "uint64", "bfloat16", "float8e5m2", "float8e8m0"])
def test_arrays_survive_their_carrier(dtype: str) -> None:
    assert is_carried(dtype, HELD)
    assert carrier("float32", HELD) == "float32"
    kind = numpy_dtype(dtype)
    array = np.arange(8, dtype=np.int64).reshape(2, 4)
    values = (1 << 63) + array.astype(np.uint64) if dtype == "uint64" else (array % 2 + 1).astype(kind)
    encoded = encode(values, HELD)
    assert encoded.dtype.name in HELD
    assert encoded.shape == (2, 4)
    back = decode(encoded, dtype)
    assert back.dtype == kind
    assert back.tobytes() == values.tobytes()


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64", "int4", "float8e4m3fn"])
def test_what_goes_in_and_out_has_the_declared_type(backend: Backend, dtype: str) -> None:
    x = np.array([1, 0, 1]).astype(numpy_dtype(dtype))
    program = backend.compile(graph_of(("Identity", "", {}), dtype=dtype), "cpu")
    got = program.predict({"x": x})["y"]
    assert got.dtype == x.dtype
    np.testing.assert_array_equal(got.astype(np.float32), x.astype(np.float32))


def test_matrix_products_of_uint64_are_refused(backend: Backend) -> None:
    program = backend.compile(graph_of(("MatMul", "with x", {}), dtype="uint64", shape=(2, 2)), "cpu")
    with pytest.raises(Unsupported, match="uint64"):
        program.predict({"x": np.ones((2, 2), np.uint64)})


def test_a_rounded_value_passes_its_derivative_on(backend: Backend) -> None:
    """Through bfloat16 and back: the value is rounded, the derivative is that of the product around it."""
    to = {"to": onnx_dtype("bfloat16").value}
    graph = graph_of(("Cast", "", to), ("Cast", "", {"to": onnx_dtype("float32").value}), ("Mul", "with x", {}),
                     dtype="float32")  # fmt: skip
    x = np.array([1.003, -2.7181, 100.3], np.float32)
    near = x.astype(ml_dtypes.bfloat16).astype(np.float32)
    program = backend.compile(graph, "cpu")
    np.testing.assert_array_equal(program.predict({"x": x})["y"], near * x)
    gradient = program.gradients({"x": x}, {"y": np.ones(3, np.float32)})["x"]
    np.testing.assert_allclose(gradient, (x + near).astype(ml_dtypes.bfloat16).astype(np.float32), rtol=2**-8)


def test_small_floats_pass_their_derivative_on(backend: Backend) -> None:
    to = {"to": onnx_dtype("float8e4m3fn").value}
    graph = graph_of(("Cast", "", to), ("Cast", "", {"to": onnx_dtype("float32").value}), dtype="float32")
    x = np.array([1.03, -2.7181, 7.3], np.float32)
    gradient = backend.compile(graph, "cpu").gradients({"x": x}, {"y": np.array([1, 2, 3], np.float32)})["x"]
    np.testing.assert_array_equal(gradient, [1, 2, 3])


def test_parameters_of_a_carried_type(backend: Backend) -> None:
    """bfloat16 parameters are read and written as bfloat16, whatever holds them."""
    b = Builder()
    with b.active():
        w = b.parameter("w", np.array([1.5, -0.25], ml_dtypes.bfloat16))
        b.output("y", b.op("Mul", b.input("x", TensorSpec((2,), "bfloat16")), w))
    program = backend.compile(b.finish(), "cpu")
    x = np.array([3.015625, 3.015625], ml_dtypes.bfloat16)
    assert program.parameters["w"].dtype == ml_dtypes.bfloat16
    program.parameters = {"w": np.array([1.0078125, 2.0], ml_dtypes.bfloat16)}
    np.testing.assert_array_equal(program.parameters["w"].astype(np.float32), [1.0078125, 2.0])
    want = x * program.parameters["w"]
    np.testing.assert_array_equal(program.predict({"x": x})["y"].astype(np.float32), want.astype(np.float32))
    gradient = program.gradients({"x": x}, {"y": np.ones(2, ml_dtypes.bfloat16)})
    assert gradient["w"].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(gradient["w"].astype(np.float32), x.astype(np.float32))


def test_parameters_of_a_carried_type_are_not_trained() -> None:
    b = Builder()
    with b.active():
        w = b.parameter("w", np.ones(2, ml_dtypes.bfloat16))
        product = b.op("Mul", b.input("x", TensorSpec((2,), "bfloat16")), w)
        b.output("loss", b.op("Cast", b.op("ReduceSum", product, keepdims=0), to=1))
    graph = b.finish()
    with pytest.raises(Unsupported, match="'w' is bfloat16, which backend 'mxnet' holds in float32"):
        get_backend("mxnet").compile(graph, "cpu", training=Training(graph, "loss", pm.optim.SGD(0.1)))
