"""passes/pool_first.py: what is swapped, and what must stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from polymodel.builder import Builder
from polymodel.passes.pool_first import pool_first
from polymodel.passes.specialize import specialize
from polymodel.plan import Plan
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor


def plan_of(build: Callable[[Builder, Tensor], dict[str, Tensor]]) -> Plan:
    b = Builder()
    with b.active():
        results = build(b, b.input("x", TensorSpec((2, 3, 6, 6))))
        for name, tensor in results.items():
            b.output(name, tensor)
    return specialize(b.finish(), tuple(results))


def pooled(b: Builder, h: Tensor, **attributes: Any) -> Tensor:
    return b.op("MaxPool", h, kernel_shape=[2, 2], **{"strides": [2, 2], **attributes})


def test_relu_moves_behind_the_pool() -> None:
    plan = pool_first(plan_of(lambda b, x: {"y": pooled(b, b.op("Relu", x)) * 2.0}))
    assert [n.op_type for n in plan.nodes] == ["MaxPool", "Relu", "Mul"]
    pool, relu, mul = plan.nodes
    assert pool.input_names == ("x",)
    assert relu.input_names == pool.output_names
    assert mul.input_names[0] == relu.output_names[0]
    assert pool.outputs[0].shape == relu.inputs[0].shape == (2, 3, 3, 3)  # type: ignore[union-attr]
    assert plan.specs[pool.output_names[0]].shape == (2, 3, 3, 3)


def test_both_orders_give_the_same_numbers() -> None:
    x = np.random.default_rng(0).standard_normal((3, 8, 2, 2)).astype(np.float32)
    x[0, 0, 0] = np.nan
    windows = x.reshape(24, 4)
    np.testing.assert_array_equal(np.maximum(windows, 0).max(1), np.maximum(windows.max(1), 0))


@pytest.mark.parametrize("attributes", [{"pads": [1, 1, 1, 1]}, {"ceil_mode": 1}, {"auto_pad": "SAME_UPPER"}], ids=str)
def test_windows_that_reach_outside_stay(attributes: dict[str, Any]) -> None:
    plan = plan_of(lambda b, x: {"y": pooled(b, b.op("Relu", x), **attributes)})
    assert pool_first(plan) is plan


def test_an_output_or_a_value_read_twice_stays() -> None:
    def build(b: Builder, x: Tensor) -> dict[str, Tensor]:
        h, g = b.op("Relu", x), b.op("Relu", x * 2.0)
        return {"h": h, "y": pooled(b, h), "z": pooled(b, g), "w": b.op("ReduceSum", g)}

    plan = plan_of(build)
    assert pool_first(plan) is plan


def test_indices_stay() -> None:
    def build(b: Builder, x: Tensor) -> dict[str, Tensor]:
        y, i = b.ops("MaxPool", b.op("Relu", x), outputs=2, kernel_shape=[2, 2])
        return {"y": y, "i": i}

    plan = plan_of(build)
    assert pool_first(plan) is plan
