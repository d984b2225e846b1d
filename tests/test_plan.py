"""plan.py: what a rule can ask of a call."""

from __future__ import annotations

import numpy as np
import pytest

from polymodel.builder import Builder
from polymodel.errors import NeedsStaticShape
from polymodel.passes.specialize import specialize
from polymodel.plan import Node, Plan
from polymodel.spec import TensorSpec


@pytest.fixture
def plan() -> Plan:
    b = Builder()
    with b.active():
        x = b.input("x", TensorSpec(("n", 4)))
        clipped = b.op("Clip", x, None, 1.0)
        slices = b.op("Slice", clipped, [0], [2], [1])
        b.output("y", b.op("Softmax", slices, axis=-1))
        b.output("z", clipped + clipped)
    return specialize(b.finish(), ["y", "z"])


def by_type(plan: Plan, op_type: str) -> Node:
    (node,) = [n for n in plan.nodes if n.op_type == op_type]
    return node


def test_inputs_and_outputs_that_are_left_out(plan: Plan) -> None:
    clip = by_type(plan, "Clip")
    assert [clip.has_input(i) for i in range(4)] == [True, False, True, False]
    assert [clip.has_output(i) for i in range(2)] == [True, False]


def test_an_output_in_the_middle_can_be_left_out() -> None:
    b = Builder()
    with b.active():
        x = b.input("x", TensorSpec((3, 2, 4)))
        w, r = (b.constant(np.zeros((1, 20, k), np.float32)) for k in (4, 5))
        _, h, _ = b.ops("LSTM", x, w, r, outputs=[False, True, False], hidden_size=5)
        b.output("h", h)
    (node,) = specialize(b.finish(), ["h"]).nodes
    assert [node.has_output(i) for i in range(3)] == [False, True, False]
    assert node.output_names == ("", "h")
    assert node.out_shape(1) == (1, 2, 5)


def test_types_and_sizes(plan: Plan) -> None:
    clip = by_type(plan, "Clip")
    assert (clip.dtype(), clip.rank(), clip.dim(0, 1)) == ("float32", 2, 4)
    with pytest.raises(NeedsStaticShape, match="axis 0 of input 0 is unknown when lowering"):
        clip.dim(0, 0)
    with pytest.raises(NeedsStaticShape, match="axis 0 of output 0 is unknown"):
        clip.out_shape()
    with pytest.raises(AssertionError, match="input 1 is left out"):
        clip.spec(1)


def test_constants(plan: Plan) -> None:
    part, clip = by_type(plan, "Slice"), by_type(plan, "Clip")
    assert part.is_const(2)
    assert part.const(2).tolist() == [2]
    np.testing.assert_array_equal(clip.const(2), np.float32(1))
    with pytest.raises(NeedsStaticShape, match=r"input 0 \('x'\) is unknown when lowering"):
        clip.const(0)


def test_attributes(plan: Plan) -> None:
    softmax = by_type(plan, "Softmax")
    assert softmax.attr("axis") == -1
    assert softmax.axis() == 1
    assert softmax.attr("no_such") is None


def test_uses_count_outputs_too(plan: Plan) -> None:
    clipped = by_type(plan, "Clip").output_names[0]
    assert plan.uses[clipped] == 3
    assert plan.uses["y"] == 1


def test_a_node_says_what_it_is(plan: Plan) -> None:
    assert str(by_type(plan, "Clip")) == "'Clip' Clip(float32[n, 4], -, float32[])"
