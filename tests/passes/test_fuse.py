"""passes/fuse.py: what is fused, and what must stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from polymodel.builder import Builder
from polymodel.passes.fuse import fuse
from polymodel.passes.specialize import specialize
from polymodel.plan import Plan
from polymodel.rules import RuleTable
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor


@pytest.fixture
def table() -> RuleTable:
    rules = RuleTable("test")
    rules.rule("Linear", since=1, domain="polymodel")(lambda node, *inputs: inputs)
    return rules


def plan_of(build: Callable[[Builder, Tensor, Tensor, Tensor], dict[str, Tensor]], x: Any = ("n", 3)) -> Plan:
    b = Builder()
    with b.active():
        data = b.input("x", TensorSpec(x))
        w, bias = b.parameter("w", np.ones((5, 3), np.float32)), b.parameter("b", np.ones(5, np.float32))
        results = build(b, data, w, bias)
        for name, tensor in results.items():
            b.output(name, tensor)
    return specialize(b.finish(), tuple(results))


def kinds(plan: Plan) -> list[str]:
    return [node.op_type for node in plan.nodes]


def test_gemm_becomes_linear(table: RuleTable) -> None:
    plan = fuse(plan_of(lambda b, x, w, c: {"y": b.op("Gemm", x, w, c, transB=1)}), table)
    assert kinds(plan) == ["Linear"]
    assert plan.nodes[0].input_names == ("x", "w", "b")
    assert plan.nodes[0].output_names == ("y",)
    assert plan.nodes[0].outputs[0].shape == ("n", 5)


def test_gemm_without_bias_becomes_linear(table: RuleTable) -> None:
    plan = fuse(plan_of(lambda b, x, w, c: {"y": b.op("Gemm", x, w, transB=1)}), table)
    assert plan.nodes[0].input_names == ("x", "w")


@pytest.mark.parametrize("attributes", [{"alpha": 0.5}, {"beta": 0.5}], ids=str)
def test_scaled_gemm_stays(table: RuleTable, attributes: dict[str, Any]) -> None:
    plan = plan_of(lambda b, x, w, c: {"y": b.op("Gemm", x, w, c, transB=1, **attributes)})
    assert kinds(fuse(plan, table)) == ["Gemm"]


def test_gemm_with_a_matrix_added_stays(table: RuleTable) -> None:
    plan = plan_of(lambda b, x, w, c: {"y": b.op("Gemm", x, w, b.constant(np.ones((1, 5), np.float32)), transB=1)})
    assert kinds(fuse(plan, table)) == ["Gemm"]


@pytest.mark.parametrize("flip", [False, True])
def test_matmul_of_transposed_weight_and_bias(table: RuleTable, flip: bool) -> None:
    def build(b: Builder, x: Tensor, w: Tensor, c: Tensor) -> dict[str, Tensor]:
        product = b.op("MatMul", x, b.op("Transpose", w, perm=[1, 0]))
        return {"y": b.op("Add", c, product) if flip else b.op("Add", product, c)}

    plan = fuse(plan_of(build, ("n", 7, 3)), table)
    assert kinds(plan) == ["Linear"]
    assert plan.nodes[0].input_names == ("x", "w", "b")
    assert plan.nodes[0].outputs[0].shape == ("n", 7, 5)


def test_transpose_without_perm_reverses(table: RuleTable) -> None:
    plan = fuse(plan_of(lambda b, x, w, c: {"y": b.op("MatMul", x, b.op("Transpose", w))}), table)
    assert kinds(plan) == ["Linear"]


def test_transpose_that_moves_nothing_is_no_pattern(table: RuleTable) -> None:
    def build(b: Builder, x: Tensor, w: Tensor, c: Tensor) -> dict[str, Tensor]:
        square = b.parameter("s", np.ones((3, 3), np.float32))
        return {"y": b.op("MatMul", x, b.op("Transpose", square, perm=[0, 1]))}

    plan = fuse(plan_of(build), table)
    assert kinds(plan) == ["Transpose", "Linear"]
    assert plan.nodes[1].attr("transB") == 0


@pytest.mark.parametrize("operator", ["MatMul", "Gemm"])
def test_a_weight_that_is_not_transposed(table: RuleTable, operator: str) -> None:
    def build(b: Builder, x: Tensor, w: Tensor, c: Tensor) -> dict[str, Tensor]:
        weight = b.parameter("v", np.ones((3, 5), np.float32))
        return {"y": b.op("MatMul", x, weight) + c if operator == "MatMul" else b.op("Gemm", x, weight, c)}

    plan = fuse(plan_of(build), table)
    assert kinds(plan) == ["Linear"]
    assert plan.nodes[0].attr("transB") == 0
    assert plan.nodes[0].input_names == ("x", "v", "b")


@pytest.mark.parametrize("shape", [(0, 5), ("k", 5), (3, "m")], ids=str)
def test_a_product_with_a_matrix_of_unknown_sizes_stays(table: RuleTable, shape: tuple[Any, ...]) -> None:
    def build(b: Builder, x: Tensor, w: Tensor, c: Tensor) -> dict[str, Tensor]:
        return {"y": b.op("MatMul", x, b.input("v", TensorSpec(shape)))}

    assert kinds(fuse(plan_of(build, ("n", shape[0])), table)) == ["MatMul"]


def test_a_bias_as_long_as_the_input_is_none(table: RuleTable) -> None:
    """Of (in, out) the bias is (out,)."""

    def build(b: Builder, x: Tensor, w: Tensor, c: Tensor) -> dict[str, Tensor]:
        return {"y": b.op("MatMul", x, b.parameter("v", np.ones((3, 1), np.float32))) + np.ones(3, np.float32)}

    assert kinds(fuse(plan_of(build), table)) == ["Linear", "Add"]


@pytest.mark.parametrize("number", [0, 1])
def test_a_convolution_loses_a_bias_of_zeros(table: RuleTable, number: int) -> None:
    table.rule("Conv", since=1)(lambda node, *inputs: inputs)

    def build(b: Builder, x: Tensor, w: Tensor, c: Tensor) -> dict[str, Tensor]:
        kernel = b.parameter("k", np.ones((5, 3, 1), np.float32))
        return {"y": b.op("Conv", x, kernel, b.constant(np.full(5, number, np.float32)))}

    plan = fuse(plan_of(build, ("n", 3, 4)), table)
    assert len(plan.nodes[0].input_names) == 2 + number
    assert len(plan.nodes[0].inputs) == 2 + number


def test_an_output_never_vanishes(table: RuleTable) -> None:
    def build(b: Builder, x: Tensor, w: Tensor, c: Tensor) -> dict[str, Tensor]:
        turned = b.op("Transpose", w)
        product = b.op("MatMul", x, turned)
        return {"t": turned, "p": product, "y": product + c}

    plan = fuse(plan_of(build), table)
    assert kinds(plan) == ["Transpose", "Linear", "Add"]
    assert plan.outputs == ("t", "p", "y")
    assert plan.nodes[1].output_names == ("p",)


def test_a_value_with_another_reader_stays(table: RuleTable) -> None:
    def build(b: Builder, x: Tensor, w: Tensor, c: Tensor) -> dict[str, Tensor]:
        product = b.op("MatMul", x, b.op("Transpose", w))
        return {"y": (product + c) * product}

    assert kinds(fuse(plan_of(build), table)) == ["Linear", "Add", "Mul"]


@pytest.mark.parametrize("shape", [(1,), (1, 5), ()], ids=str)
def test_an_addition_that_is_no_bias_stays(table: RuleTable, shape: tuple[int, ...]) -> None:
    def build(b: Builder, x: Tensor, w: Tensor, c: Tensor) -> dict[str, Tensor]:
        return {"y": b.op("MatMul", x, b.op("Transpose", w)) + np.ones(shape, np.float32)}

    assert kinds(fuse(plan_of(build), table)) == ["Linear", "Add"]


def test_integer_products_stay(table: RuleTable) -> None:
    b = Builder()
    with b.active():
        x, w = (b.input(n, TensorSpec(s, "int32")) for n, s in (("x", (2, 3)), ("w", (5, 3))))
        b.output("y", b.op("MatMul", x, b.op("Transpose", w)))
    assert kinds(fuse(specialize(b.finish(), ("y",)), table)) == ["Transpose", "MatMul"]


def test_nothing_is_fused_without_a_rule() -> None:
    plan = plan_of(lambda b, x, w, c: {"y": b.op("Gemm", x, w, c, transB=1)})
    assert kinds(fuse(plan, RuleTable("none"))) == ["Gemm"]
