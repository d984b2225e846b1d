"""Plan -> Plan: calls whose sums a backend would gather in half precision compute in float32.

1. Each half-precision input of such a call is cast to float32, each half-precision output back: what is stored is rounded once,
   what is added up inside, forward and backward, is not. A value is cast once, however many calls read it.
2. A constant is cast here, so that rules still know its value; what nobody reads any more is dropped.
3. Which operators they are the backend says. Of those that broadcast, whose derivatives are sums over what was repeated, a call is
   meant that repeats something; of those that scatter, one that reduces.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import final

import numpy as np

from polymodel.inference import schema
from polymodel.passes.specialize import prune
from polymodel.plan import Node, Plan
from polymodel.spec import TensorSpec, onnx_dtype

HALVES = frozenset({"float16", "bfloat16"})
BROADCASTING = frozenset("Add Sub Mul Div Pow Mod Max Min Sum Mean Clip PRelu Where".split())
"""Operators of the standard that repeat inputs of size 1 along an axis."""
GATHERING = frozenset({"Gather", "GatherElements", "GatherND", "OneHot"})
"""Operators that may take an element many times: derivatives by it are sums."""
SCATTERING = frozenset({"ScatterElements", "ScatterND"})
"""Operators that may put many elements in one place, by their sum where they are asked to."""


def widen(plan: Plan, operators: Collection[str], halves: Collection[str] = HALVES) -> Plan:
    """Have some calls computed in float32.

    Args:
        plan: from `specialize`; fused or not.
        operators: names of operators whose sums are gathered in half precision.
        halves: the types that are meant.

    Returns:
        A plan of the same meaning, inputs and outputs; the same plan where nothing had to be changed.
    """
    if not any(_is_meant(node, operators, halves) for node in plan.nodes):
        return plan
    made = _Pass(plan, halves)
    for node in plan.nodes:
        if _is_meant(node, operators, halves):
            made.widened(node)
        else:
            made.nodes.append(node)
    return prune(replace(plan, nodes=tuple(made.nodes), specs=made.specs, constants=made.constants))


def _is_meant(node: Node, operators: Collection[str], halves: Collection[str]) -> bool:
    if node.op_type not in operators or not any(s.dtype in halves for s in node.inputs if s is not None):
        return False
    if node.op_type in SCATTERING:
        return node.attr("reduction") not in (None, "none")
    return node.op_type not in BROADCASTING or any(s.shape != node.outputs[0].shape for s in node.inputs if s is not None)


@final
class _Pass:
    """What has been written of the new plan."""

    def __init__(self, plan: Plan, halves: Collection[str]) -> None:
        self.halves, self.nodes = halves, list[Node]()
        self.specs, self.constants = dict(plan.specs), dict(plan.constants)
        self.wide: dict[str, str] = {}

    def widened(self, node: Node) -> None:
        """Add a call with its inputs and outputs in float32, and the casts around it."""
        inputs = [self._wide_input(name, spec) for name, spec in zip(node.input_names, node.inputs, strict=True)]
        outputs = [self._wide_output(name, spec) for name, spec in zip(node.output_names, node.outputs, strict=True)]
        constants = {i: self.constants[name] for i, (name, _) in enumerate(inputs) if name in self.constants}
        self.nodes.append(
            replace(
                node,
                input_names=tuple(name for name, _ in inputs),
                inputs=tuple(spec for _, spec in inputs),
                output_names=tuple(name for name, _ in outputs),
                outputs=tuple(spec for _, spec in outputs),
                constants=constants,
            )
        )
        for (wide, spec), name, narrow in zip(outputs, node.output_names, node.outputs, strict=True):
            if wide != name:
                self.nodes.append(_cast(wide, spec, name, narrow))

    def _wide_input(self, name: str, spec: TensorSpec | None) -> tuple[str, TensorSpec | None]:
        if spec is None or spec.dtype not in self.halves:
            return name, spec
        wide = replace(spec, dtype="float32")
        if name not in self.wide:
            self.wide[name] = self._name(name)
            self.specs[self.wide[name]] = wide
            if name in self.constants:
                self.constants[self.wide[name]] = self.constants[name].astype(np.float32)
            else:
                self.nodes.append(_cast(name, spec, self.wide[name], wide))
        return self.wide[name], wide

    def _wide_output(self, name: str, spec: TensorSpec) -> tuple[str, TensorSpec]:
        if not name or spec.dtype not in self.halves:
            return name, spec
        new, wide = self._name(f"{name}.of"), replace(spec, dtype="float32")
        self.specs[new] = wide
        return new, wide

    def _name(self, name: str) -> str:
        wanted = f"{name}.float32"
        while wanted in self.specs:
            wanted += "_"
        return wanted


def _cast(source: str, spec: TensorSpec, target: str, wanted: TensorSpec) -> Node:
    return Node(
        op_type="Cast", domain="", version=schema("Cast").since_version, name=f"{target}.cast",
        attributes={"to": onnx_dtype(wanted.dtype).value, "saturate": 1, "round_mode": "up"},
        input_names=(source,), output_names=(target,), inputs=(spec,), outputs=(wanted,), constants={},
    )  # fmt: skip
