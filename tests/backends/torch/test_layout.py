"""layout.py and inplace.py: what happens to memory, and that nobody sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from polymodel.graph import Graph
from polymodel.passes.specialize import specialize
from polymodel.plan import Plan
from polymodel.spec import TensorSpec
from polymodel_torch.inplace import overwrite
from polymodel_torch.layout import channels_last_weights, convert_inputs
from polymodel_torch.rules.convolution import _channels_last

Arrays = dict[str, np.ndarray]


def kinds(plan: Plan) -> list[str]:
    return [node.op_type for node in plan.nodes]


def test_weights_are_kept_channels_last_on_the_cpu(trained: Callable[..., Any], batch: Arrays) -> None:
    program = trained()
    weight = program.state["parameters"]["conv.weight"]
    slot = program.state["slots"]["momentum_buffer/conv.weight"]
    for tensor in (weight, slot):
        assert tensor.stride() == (18, 1, 6, 2)
    assert program.parameters["conv.weight"].flags.c_contiguous
    assert channels_last_weights(program.graph, "cpu") == {"conv.weight"}
    assert channels_last_weights(program.graph, "cuda:0") == frozenset()
    program.train_step(batch, lr=0.1, step=1)
    assert weight.stride() == (18, 1, 6, 2)


def test_only_the_first_of_a_chain_of_convolutions_is_converted(graph_of: Callable[..., Graph]) -> None:
    w = np.ones((2, 2, 3, 3), np.float32)

    def build(b: Any, x: Any) -> dict[str, Any]:
        h = b.op("Relu", b.op("Conv", x, w))
        return {"y": b.op("Conv", h, w), "z": b.op("Conv", x, w)}

    plan = convert_inputs(specialize(graph_of(build, x=TensorSpec((1, 2, 8, 8))), ("y", "z")))
    assert kinds(plan).count("ChannelsLast") == 1
    assert kinds(plan)[0] == "ChannelsLast"


def test_strides_are_written_out_where_torch_leaves_them_open() -> None:
    one_channel = torch.zeros(4, 1, 5, 6)
    assert one_channel.contiguous(memory_format=torch.channels_last).stride() == (30, 30, 6, 1)
    assert _channels_last(one_channel).stride() == (30, 1, 6, 1)
    assert _channels_last(torch.zeros(8, 3, 5, 6)[4:]).stride() == (90, 1, 18, 3)


def test_a_view_in_the_middle_of_memory_keeps_its_values() -> None:
    x = torch.arange(2.0 * 1 * 3 * 4).reshape(2, 1, 3, 4)
    assert torch.equal(_channels_last(x[1:]), x[1:])


def test_what_nobody_else_reads_is_overwritten(graph_of: Callable[..., Graph]) -> None:
    w = np.ones((2, 2, 1, 1), np.float32)

    def build(b: Any, x: Any) -> dict[str, Any]:
        return {"y": b.op("Relu", b.op("Add", x, b.op("Conv", x, w)))}

    plan = overwrite(specialize(graph_of(build, x=TensorSpec((1, 2, 4, 4))), ("y",)))
    assert kinds(plan) == ["Conv", "AddInPlace", "ReluInPlace"]
    conv, add, _ = plan.nodes
    assert add.input_names == (conv.output_names[0], "x")


def test_a_value_that_is_read_twice_or_handed_out_is_not(graph_of: Callable[..., Graph]) -> None:
    w = np.ones((2, 2, 1, 1), np.float32)

    def build(b: Any, x: Any) -> dict[str, Any]:
        h, g = b.op("Conv", x, w), b.op("Conv", x * 2.0, w)
        return {"h": h, "y": b.op("Relu", h), "z": b.op("Relu", g) + b.op("Sigmoid", g)}

    plan = overwrite(specialize(graph_of(build, x=TensorSpec((1, 2, 4, 4))), ("h", "y", "z")))
    assert not {"ReluInPlace", "AddInPlace"} & set(kinds(plan))


def test_an_input_is_never_overwritten(backend: Any, graph_of: Callable[..., Graph]) -> None:
    graph = graph_of(lambda b, x: {"y": b.op("Relu", x), "z": b.op("Relu", x + 1.0)}, x=TensorSpec((3,)))
    x = np.array([-1.0, 0.0, 1.0], np.float32)
    backend.compile(graph, "cpu").predict({"x": x})
    np.testing.assert_array_equal(x, np.array([-1.0, 0.0, 1.0], np.float32))


def test_a_narrow_operand_is_not_overwritten(graph_of: Callable[..., Graph]) -> None:
    w = np.ones((2, 2, 1, 1), np.float32)

    def build(b: Any, x: Any, wide: Any) -> dict[str, Any]:
        return {"y": b.op("Conv", x, w) + wide}

    graph = graph_of(build, x=TensorSpec((1, 2, 1, 1)), wide=TensorSpec((1, 2, 4, 4)))
    assert kinds(overwrite(specialize(graph, ("y",)))) == ["Conv", "Add"]
