"""Random operators: element type, shape, moments, and what a seed promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from polymodel.artifact.load import load_onnx
from polymodel.backend import Backend

Make = Callable[..., Any]
COUNT = 40_000
FLOATS: dict[int, str] = {TensorProto.FLOAT: "float32", TensorProto.DOUBLE: "float64", TensorProto.FLOAT16: "float16"}


def drawn(backend: Backend, op_type: str, inputs: dict[str, np.ndarray], runs: int = 1, calls: int = 1, **how: Any) -> list[np.ndarray]:
    """Values of a fresh program: for each run, those of each of its calls."""
    nodes = [helper.make_node(op_type, list(inputs), [f"y{i}"], name=f"call_{i}", **how) for i in range(calls)]
    fed = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in inputs.items()]
    graph = helper.make_graph(nodes, "g", fed, [onnx.ValueInfoProto(name=f"y{i}") for i in range(calls)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    program = backend.compile(load_onnx(model), "cpu")
    return [a for _ in range(runs) for a in program.predict(inputs).values()]


def given(op_type: str, shape: tuple[int, ...]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Inputs and attributes of a call that draws numbers of a shape."""
    if op_type == "Multinomial":
        return {"x": np.zeros((shape[0], 9), np.float32)}, {"sample_size": shape[1]}
    if op_type == "Bernoulli":
        return {"x": np.full(shape, 0.5, np.float32)}, {}
    return ({"x": np.zeros(shape, np.float32)}, {}) if op_type.endswith("Like") else ({}, {"shape": list(shape)})


OPERATORS = ["Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"]


@pytest.mark.parametrize("op_type", OPERATORS)
def test_a_seed_fixes_the_numbers_of_a_program(backend: Backend, op_type: str) -> None:
    """Programs of the same seed draw the same numbers, run for run, and every run others; other seeds other numbers."""
    inputs, how = given(op_type, (3, 50))
    first, second = (drawn(backend, op_type, inputs, runs=2, seed=0.25, **how) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (first[0] != first[1]).any(), "every run draws anew"
    other = drawn(backend, op_type, inputs, seed=0.5, **how)[0]
    assert (first[0] != other).any(), "a seed is a float: 0.25 and 0.5 differ"


@pytest.mark.parametrize("op_type", OPERATORS)
def test_a_seed_is_the_business_of_its_call(backend: Backend, op_type: str) -> None:
    """What other programs draw in between changes nothing."""
    inputs, how = given(op_type, (3, 50))
    alone = drawn(backend, op_type, inputs, seed=7.0, **how)[0]
    drawn(backend, "RandomUniform", {}, shape=[100])
    np.testing.assert_array_equal(drawn(backend, op_type, inputs, seed=7.0, **how)[0], alone)


@pytest.mark.parametrize("op_type", OPERATORS)
def test_without_a_seed_calls_are_independent(backend: Backend, op_type: str) -> None:
    inputs, how = given(op_type, (3, 50))
    a, b, c, d = drawn(backend, op_type, inputs, runs=2, calls=2, **how)
    for other in (b, c, d):
        assert (a != other).any()


@pytest.mark.parametrize("seed", [{}, {"seed": 3.0}])
@pytest.mark.parametrize("kind", FLOATS)
def test_moments_of_normal_and_uniform_numbers(backend: Backend, kind: int, seed: dict[str, Any]) -> None:
    shape = [4, COUNT // 4]
    normal = drawn(backend, "RandomNormal", {}, shape=shape, dtype=kind, mean=-2.0, scale=3.0, **seed)[0]
    uniform = drawn(backend, "RandomUniform", {}, shape=shape, dtype=kind, low=-2.0, high=4.0, **seed)[0]
    for array, mean, deviation in ((normal, -2.0, 3.0), (uniform, 1.0, 6 / 12**0.5)):
        assert (array.dtype, array.shape) == (FLOATS[kind], tuple(shape))
        wide = array.astype(np.float64)
        assert abs(wide.mean() - mean) < 5 * deviation / COUNT**0.5
        assert abs(wide.std() - deviation) < 5 * deviation / COUNT**0.5
        assert abs(np.corrcoef(wide[0], wide[1])[0, 1]) < 5 / (COUNT / 4) ** 0.5
    assert uniform.min() >= -2
    assert uniform.max() <= 4
    assert abs(((normal.astype(np.float64) + 2) / 3 > 1).mean() - 0.15866) < 5 * 0.366 / COUNT**0.5


@pytest.mark.parametrize("seed", [{}, {"seed": 3.0}])
@pytest.mark.parametrize("op_type", ["RandomNormalLike", "RandomUniformLike"])
def test_like_takes_shape_and_type_of_the_input_or_its_own(backend: Backend, op_type: str, seed: dict[str, Any]) -> None:
    x = np.zeros((3, 7), np.float64)
    assert drawn(backend, op_type, {"x": x}, **seed)[0].dtype == np.float64
    assert drawn(backend, op_type, {"x": x.astype(np.float16)}, **seed)[0].dtype == np.float16
    found = drawn(backend, op_type, {"x": np.zeros((3, 7), np.int32)}, dtype=TensorProto.FLOAT, **seed)[0]
    assert (found.dtype, found.shape) == (np.float32, (3, 7))
    assert len(np.unique(found)) > 15


@pytest.mark.parametrize("seed", [{}, {"seed": 3.0}])
@pytest.mark.parametrize("kind", ["float32", "float64", "float16"])
def test_bernoulli(backend: Backend, kind: str, seed: dict[str, Any]) -> None:
    chance = np.repeat(np.array([[0.0], [0.1], [0.75], [1.0]], kind), COUNT, 1)
    hits = drawn(backend, "Bernoulli", {"x": chance}, **seed)[0]
    assert hits.dtype == kind
    assert set(np.unique(hits)) == {0, 1}
    for row, p in zip(hits.astype(np.float64), (0.0, 0.1, 0.75, 1.0), strict=True):
        assert abs(row.mean() - p) <= 5 * (p * (1 - p) / COUNT) ** 0.5 + (1e-3 if kind == "float16" else 1e-7)
    for to, name in ((TensorProto.INT32, "int32"), (TensorProto.BOOL, "bool"), (TensorProto.DOUBLE, "float64")):
        assert drawn(backend, "Bernoulli", {"x": chance}, dtype=to, **seed)[0].dtype == name


@pytest.mark.parametrize("seed", [{}, {"seed": 3.0}])
@pytest.mark.parametrize("kind", ["float32", "float64", "float16"])
def test_multinomial(backend: Backend, kind: str, seed: dict[str, Any]) -> None:
    p = np.array([[0.1, 0.2, 0.7], [1.0, 0.0, 0.0]])
    with np.errstate(divide="ignore"):
        x = (np.log(p) + 3).astype(kind)
    for to, name in ((TensorProto.INT32, "int32"), (TensorProto.INT64, "int64")):
        found = drawn(backend, "Multinomial", {"x": x}, sample_size=COUNT, dtype=to, **seed)[0]
        assert (found.dtype, found.shape) == (name, (2, COUNT))
        for row, want in zip(found, p, strict=True):
            share = np.bincount(row, minlength=3) / COUNT
            np.testing.assert_array_less(np.abs(share - want), 5 * (want * (1 - want) / COUNT) ** 0.5 + 2e-3)
