"""passes/specialize.py: sizes are bound, known values computed, unused nodes dropped."""

from __future__ import annotations

import numpy as np
import pytest

from polymodel.builder import Builder
from polymodel.errors import GraphError, NeedsStaticShape, ShapeError
from polymodel.graph import Graph
from polymodel.passes.specialize import specialize
from polymodel.spec import TensorSpec


def shapes(last: int | str = 6) -> Graph:
    """y = x reshaped by arithmetic on its own shape; z = something else."""
    b = Builder()
    with b.active():
        x = b.input("x", TensorSpec(("n", 4, last)))
        rows = b.op("Shape", x, start=0, end=1)
        rest = b.op("Mul", b.op("Shape", x, start=1, end=2), b.op("Shape", x, start=-1))
        b.output("y", b.op("Reshape", x, b.op("Concat", rows, rest, axis=0)))
        b.output("z", b.op("Relu", x))
    return b.finish()


def test_known_sizes_make_shape_arithmetic_a_constant() -> None:
    plan = specialize(shapes(), ["y"], {"n": 5})
    (node,) = plan.nodes
    assert node.op_type == "Reshape"
    assert node.const(1).tolist() == [5, 24]
    assert node.out_shape() == (5, 24)
    assert plan.inputs == {"x": TensorSpec((5, 4, 6))}


def test_unknown_sizes_stay_in_the_plan() -> None:
    plan = specialize(shapes("m"), ["y"])
    assert [n.op_type for n in plan.nodes] == ["Shape", "Shape", "Mul", "Concat", "Reshape"]
    with pytest.raises(NeedsStaticShape, match=r"the value of input 1 .* is unknown when lowering"):
        plan.nodes[-1].const(1)
    with pytest.raises(NeedsStaticShape, match="axis 0 of input 0 is unknown"):
        plan.nodes[-1].shape(0)


def test_one_unknown_size_needs_no_arithmetic() -> None:
    (node,) = specialize(shapes(), ["y"]).nodes
    assert node.const(1).tolist() == [-1, 24]
    assert node.outputs[0].shape == ("n", 24)


def test_only_what_is_needed_is_there() -> None:
    plan = specialize(shapes(), ["z"])
    assert [n.op_type for n in plan.nodes] == ["Relu"]
    assert plan.outputs == ("z",)


def test_any_value_can_be_an_output() -> None:
    graph = shapes()
    name = next(str(n.outputs[0].name) for n in graph.model.graph if n.op_type == "Concat")
    plan = specialize(graph, [name], {"n": 5})
    assert not plan.nodes
    assert plan.constants[name].tolist() == [5, 24]


def test_an_unknown_output_is_refused() -> None:
    with pytest.raises(GraphError, match="the graph has no value 'w'; its outputs are y, z"):
        specialize(shapes(), ["w"])


def test_sizes_that_do_not_fit_are_refused() -> None:
    b = Builder()
    with b.active():
        x, y = b.input("x", TensorSpec(("n", 4))), b.input("y", TensorSpec(("m", 4)))
        b.output("s", x + y)
    graph = b.finish()
    assert specialize(graph, ["s"], {"n": 1, "m": 3}).nodes[0].out_shape() == (3, 4)
    with pytest.raises(ShapeError, match=r"Add\(float32\[2, 4\], float32\[3, 4\]\)"):
        specialize(graph, ["s"], {"n": 2, "m": 3})


def test_attributes_are_complete_and_plain() -> None:
    b = Builder()
    with b.active():
        x = b.input("x", TensorSpec((1, 1, 5, 5)))
        b.output("y", b.op("MaxPool", x, kernel_shape=[2, 2]))
    (node,) = specialize(b.finish(), ["y"]).nodes
    assert node.attr("kernel_shape") == (2, 2)
    assert node.attr("auto_pad") == "NOTSET"
    assert node.attr("ceil_mode") == 0
    assert node.attr("pads") is None
    assert node.version == 22


def test_random_operators_are_not_computed_ahead() -> None:
    b = Builder()
    with b.active():
        b.output("r", b.op("RandomNormalLike", b.constant(np.zeros(3, np.float32))))
    assert [n.op_type for n in specialize(b.finish(), ["r"]).nodes] == ["RandomNormalLike"]


def test_what_the_reference_operator_mistakes_is_left_to_the_backend() -> None:
    b = Builder()
    with b.active():
        b.output("y", b.op("HannWindow", np.array(10)))
    assert [n.op_type for n in specialize(b.finish(), ["y"]).nodes] == ["HannWindow"]
