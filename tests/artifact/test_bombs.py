"""Small files that ask for endless work or endless memory: loading and planning end soon, with a clear error where there is one."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from polymodel.artifact.load import load_onnx
from polymodel.errors import PolymodelError
from polymodel.passes import control_flow
from polymodel.passes.specialize import specialize

FLOAT = TensorProto.FLOAT


def bomb(nodes: list[onnx.NodeProto], **stored: Any) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "bomb",
        [helper.make_tensor_value_info("x", FLOAT, [2])],
        [helper.make_tensor_value_info("y", FLOAT, [2])],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)


def body(nodes: list[onnx.NodeProto], name: str) -> onnx.GraphProto:
    info = helper.make_tensor_value_info
    inputs = [info(f"{name}_i", TensorProto.INT64, []), info(f"{name}_c", TensorProto.BOOL, []), info(f"{name}_s", FLOAT, [2])]
    outputs = [info(f"{name}_go", TensorProto.BOOL, []), info(f"{name}_t", FLOAT, [2])]
    return helper.make_graph([*nodes, helper.make_node("Identity", [f"{name}_c"], [f"{name}_go"])], name, inputs, outputs)


def long_loop() -> onnx.ModelProto:
    inner = body([helper.make_node("Relu", ["b_s"], ["b_t"])], "b")
    return bomb([helper.make_node("Loop", ["n", "c", "x"], ["y"], body=inner)], n=np.int64(2**40), c=np.bool_(True))


def loop_of_constants() -> onnx.ModelProto:
    """All that an iteration makes is known: it adds no call, however often it runs."""
    inner = body([helper.make_node("Neg", ["b_s"], ["b_t"])], "b")
    loop = helper.make_node("Loop", ["n", "c", "zero"], ["z"], body=inner)
    stored = {"n": np.int64(2**40), "c": np.bool_(True), "zero": np.zeros(2, np.float32)}
    return bomb([loop, helper.make_node("Add", ["x", "z"], ["y"])], **stored)


def nested_loops() -> onnx.ModelProto:
    inner = body([helper.make_node("Relu", ["b0_s"], ["b0_t"])], "b0")
    for k in range(1, 6):
        call = helper.make_node("Loop", ["n", "c", f"b{k}_s"], [f"b{k}_t"], body=inner)
        inner = body([call], f"b{k}")
    return bomb([helper.make_node("Loop", ["n", "c", "x"], ["y"], body=inner)], n=np.int64(1000), c=np.bool_(True))


def nested_loops_of_constants() -> onnx.ModelProto:
    inner = body([helper.make_node("Neg", ["b0_s"], ["b0_t"])], "b0")
    for k in range(1, 6):
        inner = body([helper.make_node("Loop", ["n", "c", f"b{k}_s"], [f"b{k}_t"], body=inner)], f"b{k}")
    loop = helper.make_node("Loop", ["n", "c", "zero"], ["z"], body=inner)
    stored = {"n": np.int64(1000), "c": np.bool_(True), "zero": np.zeros(2, np.float32)}
    return bomb([loop, helper.make_node("Add", ["x", "z"], ["y"])], **stored)


def filled(op_type: str, *inputs: str, **stored: Any) -> onnx.ModelProto:
    """A huge value of a few constants, summed so that nothing large comes out."""
    nodes = [
        helper.make_node(op_type, list(inputs), ["h"]),
        helper.make_node("Cast", ["h"], ["f"], to=FLOAT),
        helper.make_node("ReduceSum", ["f"], ["s"], keepdims=0),
        helper.make_node("Add", ["x", "s"], ["y"]),
    ]
    return bomb(nodes, **stored)


def huge_fill() -> onnx.ModelProto:
    return filled("ConstantOfShape", "d", d=np.array([2**38], np.int64))


def huge_range() -> onnx.ModelProto:
    return filled("Range", "a", "b", "c", a=np.int64(0), b=np.int64(2**40), c=np.int64(1))


def huge_tile() -> onnx.ModelProto:
    return filled("Tile", "v", "d", v=np.zeros(4, np.float32), d=np.array([2**38], np.int64))


def huge_expand() -> onnx.ModelProto:
    return filled("Expand", "v", "d", v=np.zeros(1, np.float32), d=np.array([2**20, 2**20], np.int64))


def huge_pad() -> onnx.ModelProto:
    return filled("Pad", "v", "d", v=np.zeros(1, np.float32), d=np.array([0, 2**38], np.int64))


def overflowing_fill() -> onnx.ModelProto:
    return filled("ConstantOfShape", "d", d=np.array([2**62, 2**62], np.int64))


def growing() -> onnx.ModelProto:
    """Doubles a constant forty times."""
    nodes = [helper.make_node("Concat", [f"h{i}", f"h{i}"], [f"h{i + 1}"], axis=0) for i in range(40)]
    nodes += [helper.make_node("ReduceSum", ["h40"], ["s"], keepdims=0), helper.make_node("Add", ["x", "s"], ["y"])]
    return bomb(nodes, h0=np.ones(2, np.float32))


ENDLESS = [long_loop, loop_of_constants, nested_loops, nested_loops_of_constants]
HUGE = [huge_fill, huge_range, huge_tile, huge_expand, huge_pad, overflowing_fill, growing]


def memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("make", [*ENDLESS, *HUGE], ids=lambda m: m.__name__)
def test_loading_ends_soon(make: Callable[[], onnx.ModelProto]) -> None:
    load_onnx(bomb([helper.make_node("Relu", ["x"], ["y"])]))  # the process of native_checks.py runs
    start, before = time.perf_counter(), memory()
    with suppress(PolymodelError):
        load_onnx(make())
    assert time.perf_counter() - start < 8  # inference in the child may fill the memory it is allowed first
    assert memory() - before < 200_000  # KiB


@pytest.mark.parametrize("make", [long_loop, loop_of_constants, nested_loops_of_constants], ids=lambda m: m.__name__)
def test_a_plan_of_endless_work_is_refused(make: Callable[[], onnx.ModelProto], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_flow, "MAX_CALLS", 300)
    graph = load_onnx(make())
    before = memory()
    with pytest.raises(PolymodelError, match="makes more than"):
        specialize(graph, graph.outputs)
    assert memory() - before < 400_000


@pytest.mark.parametrize("make", HUGE, ids=lambda m: m.__name__)
def test_nothing_huge_is_computed_ahead(make: Callable[[], onnx.ModelProto]) -> None:
    before, largest = memory(), 0
    with suppress(PolymodelError):
        graph = load_onnx(make())
        largest = max((a.size for a in specialize(graph, graph.outputs).constants.values()), default=0)
    assert largest <= 1 << 20
    assert memory() - before < 200_000
