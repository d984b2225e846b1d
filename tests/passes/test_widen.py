"""passes/widen.py: which calls are computed in float32, and what stands around them; what it is for, on every backend."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import polymodel as pm
from polymodel.builder import Builder
from polymodel.graph import Graph
from polymodel.passes.specialize import specialize
from polymodel.passes.widen import BROADCASTING, widen
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor


def graph_of(build: Callable[[Builder, Tensor], Tensor], dtype: str = "float16", shape: tuple[int, ...] = (2, 4)) -> Graph:
    b = Builder()
    with b.active():
        b.output("y", build(b, b.input("x", TensorSpec(shape, dtype))))
    return b.finish()


def product_of_sum(b: Builder, x: Tensor) -> Tensor:
    weight = b.constant(np.ones((4, 3), np.float16))
    return b.op("Relu", b.op("MatMul", b.op("Add", x, b.constant(np.ones((1, 4), np.float16))), weight))


def test_only_the_calls_that_are_named_are_wide() -> None:
    graph = graph_of(product_of_sum)
    plan = widen(specialize(graph, ["y"]), {"MatMul"})
    assert [n.op_type for n in plan.nodes] == ["Add", "Cast", "MatMul", "Cast", "Relu"]
    product = plan.nodes[2]
    assert {s.dtype for s in (*product.inputs, *product.outputs) if s is not None} == {"float32"}
    assert product.const(1).dtype == np.float32, "a constant is still known"
    assert [n.outputs[0].dtype for n in plan.nodes] == ["float16", "float32", "float32", "float16", "float16"]
    assert plan.outputs == ("y",)
    assert {a.dtype.name for a in plan.constants.values()} == {"float16", "float32"}, "the row and the wide weight; no narrow one"
    assert len(plan.constants) == 2
    assert all(n in plan.specs for node in plan.nodes for n in (*node.input_names, *node.output_names))


def test_of_broadcasting_operators_only_those_calls_that_repeat_something() -> None:
    plan = specialize(graph_of(lambda b, x: b.op("Mul", b.op("Add", x, x), b.constant(np.ones((1, 4), np.float16)))), ["y"])
    assert [n.op_type for n in widen(plan, BROADCASTING).nodes] == ["Add", "Cast", "Mul", "Cast"]


def test_a_value_is_cast_once() -> None:
    plan = widen(specialize(graph_of(lambda b, x: b.op("MatMul", x, b.op("Transpose", x, perm=[1, 0]))), ["y"]), {"MatMul", "Transpose"})
    assert [n.op_type for n in plan.nodes] == ["Cast", "Transpose", "Cast", "Cast", "MatMul", "Cast"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_plan_without_halves_is_the_same(dtype: str) -> None:
    plan = specialize(graph_of(lambda b, x: b.op("Add", x, b.constant(np.ones((1, 4), dtype))), dtype), ["y"])
    assert widen(plan, BROADCASTING) is plan


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
@pytest.mark.parametrize("backend", ["torch", "tensorflow", "mxnet"])
def test_a_derivative_summed_over_what_was_repeated_is_rounded_once(backend: str, half: str) -> None:
    """Cotangents of few bits, whose sums are exact in float32, so that there is one right answer."""
    from ml_dtypes import bfloat16

    kind = np.dtype(bfloat16 if half == "bfloat16" else half)
    b = Builder()
    with b.active():
        x, row = b.input("x", TensorSpec((1500, 64), half)), b.input("row", TensorSpec((1, 64), half))
        b.output("y", b.op("Add", x, row))
    program = pm.get_backend(backend).compile(b.finish(), "cpu")
    feeds = {"x": np.ones((1500, 64), kind), "row": np.ones((1, 64), kind)}
    cotangent = (np.random.default_rng(0).integers(0, 256, (1500, 64)) / 128).astype(kind)
    found = program.gradients(feeds, {"y": cotangent}, ["row"])["row"]
    assert found.dtype == kind
    np.testing.assert_array_equal(found, cotangent.astype(np.float64).sum(0, keepdims=True).astype(kind))
