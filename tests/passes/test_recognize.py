"""passes/recognize.py: what exporters write out becomes one operator, with the same values and derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from polymodel.builder import Builder
from polymodel.passes.fuse import fuse
from polymodel.passes.specialize import specialize
from polymodel.plan import Plan
from polymodel.registry import compile
from polymodel.rules import RuleTable
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor

Build = Callable[[Builder, Tensor], dict[str, Tensor]]


@pytest.fixture
def table() -> RuleTable:
    rules = RuleTable("test")
    for operator in ("Gelu", "LayerNormalization", "Transpose", "Attention"):
        rules.rule(operator, since=1)(lambda node, *inputs: inputs)
    return rules


def graph_of(build: Build, shape: tuple[Any, ...], dtype: str = "float32") -> Any:
    b = Builder()
    with b.active():
        x = b.input("x", TensorSpec(shape, dtype))
        for name, tensor in build(b, x).items():
            b.output(name, tensor)
    return b.finish()


def plan_of(build: Build, shape: tuple[Any, ...], dtype: str = "float32") -> Plan:
    graph = graph_of(build, shape, dtype)
    return specialize(graph, graph.outputs)


def kinds(plan: Plan) -> list[str]:
    return [node.op_type for node in plan.nodes]


def number(b: Builder, value: float, dtype: str = "float32") -> Tensor:
    return b.constant(np.array(value, dtype))


def torch_gelu(b: Builder, x: Tensor, root: float = math.sqrt(2), half: float = 0.5, dtype: str = "float32") -> dict[str, Tensor]:
    total = b.op("Add", b.op("Erf", b.op("Div", x, number(b, root, dtype))), number(b, 1, dtype))
    return {"y": b.op("Mul", x, b.op("Mul", number(b, half, dtype), total))}


def older_gelu(b: Builder, x: Tensor) -> dict[str, Tensor]:
    total = b.op("Add", number(b, 1), b.op("Erf", b.op("Mul", number(b, math.sqrt(0.5)), x)))
    return {"y": b.op("Mul", b.op("Mul", x, total), number(b, 0.5))}


def norm(b: Builder, x: Tensor, square: str = "Pow", axis: int = -1, keepdims: int = 1) -> dict[str, Tensor]:
    axes = b.constant(np.array([axis], np.int64))
    centred = b.op("Sub", x, b.op("ReduceMean", x, axes, keepdims=keepdims))
    squared = b.op("Pow", centred, number(b, 2)) if square == "Pow" else b.op("Mul", centred, centred)
    variance = b.op("ReduceMean", squared, axes, keepdims=1)
    y = b.op("Div", centred, b.op("Sqrt", b.op("Add", variance, number(b, 1e-5))))
    scale, bias = (b.parameter(n, np.linspace(0.5, 2, 6, dtype=np.float32)) for n in ("scale", "bias"))
    return {"y": b.op("Add", b.op("Mul", y, scale), bias)}


def attention(b: Builder, x: Tensor, way: str = "both", size: int = 2) -> dict[str, Tensor]:
    """x (N, 2, 3, 4) attends to itself; the scale is that of `size`, split between both sides or behind the product."""
    root = number(b, size**-0.25)
    v = b.op("Mul", x, number(b, 2))
    if way == "both":
        scores = b.op("MatMul", b.op("Mul", x, root), b.op("Mul", b.op("Transpose", v, perm=[0, 1, 3, 2]), root))
    elif way == "behind":
        scores = b.op("Div", b.op("MatMul", x, b.op("Transpose", v, perm=[0, 1, 3, 2])), number(b, size**0.5))
    else:  # keys that come as (N, time, heads, size)
        early = b.op("Transpose", v, perm=[0, 2, 1, 3])
        scores = b.op("MatMul", x, b.op("Transpose", early, perm=[0, 2, 3, 1]))
    return {"y": b.op("MatMul", b.op("Softmax", scores, axis=-1), v)}


def test_gelu(table: RuleTable) -> None:
    for build in (torch_gelu, older_gelu):
        plan = fuse(plan_of(build, ("n", 3)), table)
        assert kinds(plan) == ["Gelu"]
        assert plan.nodes[0].attr("approximate") == "none"
        assert plan.nodes[0].input_names == ("x",)


@pytest.mark.parametrize(
    ("root", "half", "dtype"),
    [(1.414, 0.5, "float32"), (math.sqrt(2), 0.4, "float32"), (float(np.float32(math.sqrt(2))), 0.5, "float64"),
     (math.sqrt(2), 0.5, "float16")],
)  # fmt: skip
def test_what_is_not_quite_gelu_stays(table: RuleTable, root: float, half: float, dtype: str) -> None:
    plan = fuse(plan_of(lambda b, x: torch_gelu(b, x, root, half, dtype), (2, 3), dtype), table)
    assert kinds(plan) == ["Div", "Erf", "Add", "Mul", "Mul"]


def test_gelu_of_something_else_stays(table: RuleTable) -> None:
    def build(b: Builder, x: Tensor) -> dict[str, Tensor]:
        total = b.op("Add", b.op("Erf", b.op("Div", b.op("Neg", x), number(b, math.sqrt(2)))), number(b, 1))
        return {"y": b.op("Mul", x, b.op("Mul", number(b, 0.5), total))}

    assert "Gelu" not in kinds(fuse(plan_of(build, (2, 3)), table))


def test_a_number_that_broadcasts_is_no_number(table: RuleTable) -> None:
    """0.5 as (1, 1) makes a matrix of a vector."""

    def build(b: Builder, x: Tensor) -> dict[str, Tensor]:
        total = b.op("Add", b.op("Erf", b.op("Div", x, number(b, math.sqrt(2)))), number(b, 1))
        return {"y": b.op("Mul", b.op("Mul", x, total), b.constant(np.full((1, 1), 0.5, np.float32)))}

    assert "Gelu" not in kinds(fuse(plan_of(build, (3,)), table))


@pytest.mark.parametrize("square", ["Pow", "Mul"])
def test_layer_normalization(table: RuleTable, square: str) -> None:
    plan = fuse(plan_of(lambda b, x: norm(b, x, square), ("n", 6)), table)
    assert kinds(plan) == ["LayerNormalization"]
    node = plan.nodes[0]
    assert node.input_names == ("x", "scale", "bias")
    assert (node.attr("axis"), node.attr("stash_type")) == (-1, 1)
    assert node.attr("epsilon") == pytest.approx(1e-5, rel=1e-6)


def test_a_mean_over_another_axis_stays(table: RuleTable) -> None:
    assert "LayerNormalization" not in kinds(fuse(plan_of(lambda b, x: norm(b, x, axis=0), (6, 6)), table))
    assert "LayerNormalization" not in kinds(fuse(plan_of(lambda b, x: norm(b, x, keepdims=0), (6, 6)), table))


@pytest.mark.parametrize("way", ["both", "behind", "early"])
def test_attention(table: RuleTable, way: str) -> None:
    plan = fuse(plan_of(lambda b, x: attention(b, x, way), ("n", 2, 3, 4)), table)
    assert kinds(plan)[-1] == "Attention"
    assert "MatMul" not in kinds(plan)
    assert plan.nodes[-1].attr("scale") == pytest.approx(1.0 if way == "early" else 2**-0.5)


def test_attention_that_broadcasts_or_shows_its_weights_stays(table: RuleTable) -> None:
    def one_key_head(b: Builder, x: Tensor) -> dict[str, Tensor]:
        k = b.op("ReduceMean", x, b.constant(np.array([1], np.int64)), keepdims=1)
        scores = b.op("MatMul", x, b.op("Transpose", k, perm=[0, 1, 3, 2]))
        return {"y": b.op("MatMul", b.op("Softmax", scores, axis=-1), x)}

    def shown(b: Builder, x: Tensor) -> dict[str, Tensor]:
        weights = b.op("Softmax", b.op("MatMul", x, b.op("Transpose", x, perm=[0, 1, 3, 2])), axis=-1)
        return {"weights": weights, "y": b.op("MatMul", weights, x)}

    def columns(b: Builder, x: Tensor) -> dict[str, Tensor]:
        weights = b.op("Softmax", b.op("MatMul", x, b.op("Transpose", x, perm=[0, 1, 3, 2])), axis=2)
        return {"y": b.op("MatMul", weights, x)}

    for build in (one_key_head, shown, columns):
        assert "Attention" not in kinds(fuse(plan_of(build, ("n", 2, 3, 4)), table))


def test_merge_transpose_split(table: RuleTable) -> None:
    def build(b: Builder, x: Tensor) -> dict[str, Tensor]:
        flat = b.op("Reshape", x, b.constant(np.array([-1, 3, 4], np.int64)))
        turned = b.op("Transpose", flat, perm=[0, 2, 1])
        return {"y": b.op("Reshape", turned, b.constant(np.array([5, 2, 4, 3], np.int64)))}

    plan = fuse(plan_of(build, (5, 2, 3, 4)), table)
    assert kinds(plan) == ["Transpose"]
    assert plan.nodes[0].attr("perm") == (0, 1, 3, 2)
    assert kinds(fuse(plan_of(build, (2, 5, 3, 4)), table)) == ["Reshape", "Transpose", "Reshape"]


@pytest.mark.parametrize("backend", ["torch", "tensorflow", "mxnet"])
@pytest.mark.parametrize(
    ("build", "shape"),
    [(torch_gelu, (2, 6)), (older_gelu, (2, 6)), (norm, (4, 6)), *((lambda b, x, w=w: attention(b, x, w), (2, 2, 3, 4))
     for w in ("both", "behind", "early"))],
    ids=["gelu", "older gelu", "norm", "both", "behind", "early"],
)  # fmt: skip
def test_values_and_derivatives(monkeypatch: pytest.MonkeyPatch, backend: str, build: Build, shape: tuple[int, ...]) -> None:
    """One call means what the calls meant that it replaces."""
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
    results = []
    for patterns in (True, False):
        if not patterns:
            monkeypatch.setattr("polymodel.passes.fuse._PATTERNS", ())
        program = compile(graph_of(build, shape), backend, "cpu")
        results.append((program.predict({"x": x})["y"], program.gradients({"x": x}, {"y": dy}, ["x"])["x"]))
    for one, many in zip(*results, strict=True):
        np.testing.assert_allclose(one, many, rtol=2e-5, atol=2e-6)
