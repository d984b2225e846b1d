"""passes/sizes.py: what is known of sizes of which some are only named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import polymodel as pm
from polymodel.passes.specialize import specialize
from polymodel.plan import Plan

Call: TypeAlias = tuple[str, list[str], str, dict[str, Any]]

X = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 12, 128, 64])


def plan_of(nodes: Sequence[Call], constants: Mapping[str, object], output: str = "y") -> Plan:
    y = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    stored = [numpy_helper.from_array(np.array(v, np.int64), n) for n, v in constants.items()]
    calls = [helper.make_node(op, inputs, [out], **attributes) for op, inputs, out, attributes in nodes]
    graph = helper.make_graph(calls, "sizes", [X], [y], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)
    return specialize(pm.load_onnx(model, trainable="none"), (output,))


KEYS = [
    ("Shape", ["x"], "s", {}),
    ("Slice", ["s", "m1", "end"], "columns", {}),
    ("Slice", ["s", "m2", "m1"], "rows", {}),
    ("Slice", ["s", "zero", "m2"], "front", {}),
    ("Concat", ["m1", "rows", "columns"], "flat", {"axis": 0}),
    ("Reshape", ["x", "flat"], "a", {}),
    ("Transpose", ["a"], "b", {"perm": [0, 2, 1]}),
    ("Concat", ["front", "columns", "rows"], "full", {"axis": 0}),
    ("Reshape", ["b", "full"], "y", {}),
]
NUMBERS = {"zero": [0], "m1": [-1], "m2": [-2], "end": [1 << 62]}


def test_what_torch_writes_for_transposed_keys() -> None:
    plan = plan_of(KEYS, NUMBERS)  # type: ignore[arg-type]
    assert [n.op_type for n in plan.nodes] == ["Reshape", "Transpose", "Reshape"]
    assert plan.nodes[0].constants[1].tolist() == [-1, 128, 64]
    assert plan.nodes[2].constants[1].tolist() == [-1, 12, 64, 128]
    assert plan.specs["y"].shape == ("batch", 12, 64, 128)


def test_a_minus_one_that_must_be_the_batch() -> None:
    plan = plan_of([("Reshape", ["x", "shape"], "y", {})], {"shape": [-1, 12 * 128, 64]})
    assert plan.specs["y"].shape == ("batch", 12 * 128, 64)


@pytest.mark.parametrize("shape", [[-1, 64], [0, 12, -1], [-1, 12 * 128, 65]], ids=str)
def test_a_minus_one_that_may_be_something_else(shape: list[int]) -> None:
    plan = plan_of([("Reshape", ["x", "shape"], "y", {})], {"shape": shape})
    assert "batch" not in plan.specs["y"].shape[1:]
    assert plan.nodes[0].constants[1].tolist() == shape


def test_sizes_that_do_not_cover_the_input_are_left_to_run() -> None:
    nodes = [
        ("Shape", ["x"], "s", {"start": 0, "end": 1}),
        ("Concat", ["s", "rest"], "full", {"axis": 0}),
        ("Reshape", ["x", "full"], "y", {}),
    ]
    assert [n.op_type for n in plan_of(nodes, {"rest": [7]}).nodes] == ["Shape", "Concat", "Reshape"]


def test_single_sizes_pass_through() -> None:
    nodes = [
        ("Shape", ["x"], "s", {"start": 0, "end": 1}),
        ("Squeeze", ["s"], "n", {}),
        ("Reshape", ["n", "m1"], "v", {}),
        ("Gather", ["shape", "two"], "unused", {}),
        ("Concat", ["v", "m1"], "full", {"axis": 0}),
        ("Shape", ["x"], "shape", {}),
        ("Gather", ["shape", "two"], "rows", {}),
        ("Unsqueeze", ["rows", "zero"], "row", {}),
        ("Concat", ["v", "row", "rest"], "to", {"axis": 0}),
        ("Reshape", ["x", "to"], "y", {}),
    ]
    nodes = [n for n in nodes if n[2] not in ("unused", "full")]
    plan = plan_of(nodes, {"m1": [-1], "two": 2, "zero": [0], "rest": [12 * 64]})
    assert [n.op_type for n in plan.nodes] == ["Reshape"]
    assert plan.nodes[0].constants[1].tolist() == [-1, 128, 12 * 64]


def test_the_type_that_castlike_wants_is_enough() -> None:
    """A constant cast like an input is known, and what is made of it too."""
    like: list[Call] = [("CastLike", ["one", "x"], "c", {}), ("Expand", ["c", "shape"], "z", {}), ("Add", ["x", "z"], "y", {})]
    plan = plan_of(like, {"one": 1, "shape": [64]})
    assert [n.op_type for n in plan.nodes] == ["Add"]
    assert plan.nodes[0].constants[1].dtype == np.float32
