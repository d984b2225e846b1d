"""A body whose last call has a body too: both write under the name of the outer call."""

from __future__ import annotations

import numpy as np

from polymodel.builder import Builder
from polymodel.passes.expand_functions import expand_functions
from polymodel.passes.specialize import specialize
from polymodel.rules import RuleTable
from polymodel.spec import TensorSpec


def test_values_of_nested_bodies_have_names_of_their_own() -> None:
    b = Builder()
    with b.active():
        x, window = b.input("x", TensorSpec((1, 19, 1))), b.input("window", TensorSpec((7,)))
        b.output("y", b.op("STFT", x, np.array(3), window))
    graph = b.finish()
    assert graph.specs["y"].shape == (1, 5, 4, 2)  # onesided is 1 where it is not given
    table = RuleTable("example")
    for op in ("Gather", "Reshape", "Mul", "MatMul"):
        table.rule(op, since=1)(lambda node, *inputs: None)
    plan = expand_functions(specialize(graph, ["y"]), table)
    assert "DFT" not in {n.op_type for n in plan.nodes}
    made = [*(n for node in plan.nodes for n in node.output_names), *plan.constants]
    assert len(made) == len(set(made))
    frames = next(n for n in plan.nodes if n.op_type == "Gather").constants[1]
    assert frames.shape == (5, 7)
