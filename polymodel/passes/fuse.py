"""Plan -> Plan: patterns of standard operators become one call of the domain "polymodel" with a fast native kernel.

1. ("polymodel", "Linear"), inputs x (..., in), w (out, in), b (out,) or absent, output (..., out) = x w^T + b; floating
   types only. It replaces
   a. Gemm(x, w, b, transB=1) with alpha = beta = 1 and transA = 0;
   b. MatMul(x, Transpose(w)), x of rank 2 or more;
   c. Add of a bias (out,) to the result of a or b, where nothing else reads that result.
2. A pattern is applied only where the backend's table has a rule for the fused operator.
3. A value that something else reads, or that is an output of the plan, never disappears.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias, final

from polymodel.passes.specialize import prune
from polymodel.plan import Node, Plan
from polymodel.rules import RuleTable

DOMAIN = "polymodel"
_FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})


@final
@dataclass(frozen=True)
class _Context:
    """What a pattern may look at besides the node itself."""

    producers: Mapping[str, Node]
    uses: Mapping[str, int]

    def producer(self, node: Node, i: int) -> Node | None:
        """The call that makes an input, None for a value from outside."""
        return self.producers.get(node.input_names[i]) if node.has_input(i) else None


_Pattern: TypeAlias = Callable[[Node, _Context], "Node | None"]


def fuse(plan: Plan, table: RuleTable) -> Plan:
    """Apply every pattern whose fused operator the table has.

    Args:
        plan: from `specialize`.
        table: rules of the backend that lowers it.

    Returns:
        A plan with the same inputs that are still needed, the same outputs and the same meaning.
    """
    for operator, pattern in _PATTERNS:
        if (DOMAIN, operator) in table:
            context = _Context({n: node for node in plan.nodes for n in node.output_names if n}, plan.uses)
            nodes = tuple(pattern(node, context) or node for node in plan.nodes)
            plan = prune(replace(plan, nodes=nodes))
    return plan


def _gemm(node: Node, context: _Context) -> Node | None:
    if node.op_type != "Gemm" or node.domain or node.dtype() not in _FLOATS:
        return None
    if (node.attr("alpha"), node.attr("beta"), node.attr("transA"), node.attr("transB")) != (1.0, 1.0, 0, 1):
        return None
    if node.has_input(2) and (node.spec(2).shape != node.spec(1).shape[:1] or not node.spec(2).is_static):
        return None
    return _call("Linear", node, (node, 0), (node, 1), *([(node, 2)] if node.has_input(2) else []))


def _matmul(node: Node, context: _Context) -> Node | None:
    if node.op_type != "MatMul" or node.domain or node.dtype() not in _FLOATS or node.rank(0) < 2:
        return None
    turned = context.producer(node, 1)
    if turned is None or turned.op_type != "Transpose" or turned.domain or turned.rank() != 2:
        return None
    if turned.attr("perm") not in (None, (1, 0)):
        return None
    return _call("Linear", node, (node, 0), (turned, 0))


def _bias(node: Node, context: _Context) -> Node | None:
    if node.op_type != "Add" or node.domain:
        return None
    for i in (0, 1):
        linear, bias = context.producer(node, i), node.spec(1 - i)
        if linear is None or (linear.domain, linear.op_type) != (DOMAIN, "Linear") or linear.has_input(2):
            continue
        if context.uses[node.input_names[i]] == 1 and bias.is_static and bias.shape == linear.spec(1).shape[:1]:
            return _call("Linear", node, (linear, 0), (linear, 1), (node, 1 - i))
    return None


_PATTERNS: tuple[tuple[str, _Pattern], ...] = (("Linear", _gemm), ("Linear", _matmul), ("Linear", _bias))


def _call(operator: str, result: Node, *inputs: tuple[Node, int]) -> Node:
    """The fused call: it makes what `result` made, from inputs of the calls that it replaces."""
    return Node(
        op_type=operator,
        domain=DOMAIN,
        version=1,
        name=result.name,
        attributes={},
        input_names=tuple(node.input_names[i] for node, i in inputs),
        output_names=result.output_names,
        inputs=tuple(node.inputs[i] for node, i in inputs),
        outputs=result.outputs,
        constants={k: node.constants[i] for k, (node, i) in enumerate(inputs) if node.is_const(i)},
    )
