"""Plan -> Plan: additions and rectifiers that may overwrite their input.

On the CPU a fresh result costs more than such an operator: its pages are new to the process. A value may be overwritten
when

1. nothing else reads it and it is no output of the plan;
2. it is a whole tensor that its producer made, not a view, and the producer's derivative does not need it;
3. it is computed anew in every run, not once of constants when lowering;
4. the result has its shape and element type.

The rewritten calls are ("polymodel", "ReluInPlace") and ("polymodel", "AddInPlace"), which overwrite their first input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from polymodel.feeds import is_float
from polymodel.plan import Node, Plan

DOMAIN = "polymodel"
_OVERWRITABLE = frozenset({"Conv", "BatchNormalization", "MaxPool"})
"""Operators whose derivative needs their input only."""


def overwrite(plan: Plan) -> Plan:
    """Rewrite every Relu and Add that may overwrite an input."""
    producers = _producers(plan)
    uses = plan.uses
    nodes = []
    for node in plan.nodes:
        if node.domain == "" and node.op_type in ("Relu", "Add") and is_float(node.dtype()):
            node = _rewrite(node, producers, uses)
        nodes.append(node)
    return replace(plan, nodes=tuple(nodes))


def _producers(plan: Plan) -> dict[str, Node]:
    """Which call makes a value that changes from run to run, by the name of its first output."""
    changing = set(plan.inputs)
    found = {}
    for node in plan.nodes:
        if not node.input_names or not changing.isdisjoint(node.input_names):
            changing.update(node.output_names)
            found[node.output_names[0]] = node
    return found


def _rewrite(node: Node, producers: Mapping[str, Node], uses: Mapping[str, int]) -> Node:
    def free(i: int, kinds: frozenset[str]) -> bool:
        name, producer = node.input_names[i], producers.get(node.input_names[i])
        return producer is not None and producer.op_type in kinds and producer.domain == "" and uses[name] == 1

    if node.op_type == "Relu":
        return replace(node, op_type="ReluInPlace", domain=DOMAIN) if free(0, _OVERWRITABLE | {"Add"}) else node
    for i in (0, 1):
        spec = node.spec(i)
        if free(i, _OVERWRITABLE) and spec == node.outputs[0] and spec.is_static and node.spec(1 - i).is_static:
            order = (i, 1 - i)
            return replace(
                node,
                op_type="AddInPlace",
                domain=DOMAIN,
                input_names=tuple(node.input_names[k] for k in order),
                inputs=tuple(node.inputs[k] for k in order),
                constants={order.index(k): v for k, v in node.constants.items()},
            )
    return node
