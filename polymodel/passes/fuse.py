"""Plan -> Plan: patterns of standard operators become one call with a fast native kernel.

1. What exporters write out becomes the operator of the standard that it is: recognize.py.
2. ("polymodel", "Linear"), inputs x (..., in), w, b (out,) or absent, output (..., out) = x w^T + b; floating types only.
   Attribute transB: 1 for w (out, in), 0 for w (in, out), which is then not transposed. It replaces
   a. Gemm(x, w, b, transB) with alpha = beta = 1 and transA = 0;
   b. MatMul(x, Transpose(w)) and, for w of known sizes without a 0, MatMul(x, w); x of rank 2 or more, w of rank 2;
   c. Add of a bias (out,) to the result of a or b, where nothing else reads that result.
3. A Conv loses a bias that is known to be zero.
4. A pattern is applied only where the backend's table has a rule for the operator that it makes.
5. A value that something else reads, or that is an output of the plan, never disappears.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from polymodel.passes.pattern import FLOATS, Context, Pattern, rewritten
from polymodel.passes.recognize import WRITTEN_OUT
from polymodel.passes.specialize import prune
from polymodel.plan import Node, Plan
from polymodel.rules import RuleTable

DOMAIN = "polymodel"


def fuse(plan: Plan, table: RuleTable) -> Plan:
    """Apply every pattern whose fused operator the table has.

    Args:
        plan: from `specialize`.
        table: rules of the backend that lowers it.

    Returns:
        A plan with the same inputs that are still needed, the same outputs and the same meaning.
    """
    for domain, operator, pattern in _PATTERNS:
        if (domain, operator) in table:
            context = Context({n: node for node in plan.nodes for n in node.output_names if n}, plan.uses)
            nodes = tuple(new for node in plan.nodes for new in pattern(node, context) or (node,))
            specs = {n: s for node in nodes for n, s in zip(node.output_names, node.outputs, strict=True) if n}
            plan = prune(replace(plan, nodes=nodes, specs={**plan.specs, **specs}))
    return plan


def _gemm(node: Node, context: Context) -> Sequence[Node] | None:
    if node.op_type != "Gemm" or node.domain or node.dtype() not in FLOATS:
        return None
    if (node.attr("alpha"), node.attr("beta"), node.attr("transA")) != (1.0, 1.0, 0):
        return None
    transposed = int(node.attr("transB"))
    if node.has_input(2) and (node.spec(2).shape != _units(node, transposed) or not node.spec(2).is_static):
        return None
    return _linear(node, transposed, (node, 0), (node, 1), *([(node, 2)] if node.has_input(2) else []))


def _matmul(node: Node, context: Context) -> Sequence[Node] | None:
    if node.op_type != "MatMul" or node.domain or node.dtype() not in FLOATS or node.rank(0) < 2 or node.rank(1) != 2:
        return None
    turned = context.producer(node, 1)
    if turned is None or turned.op_type != "Transpose" or turned.domain or turned.attr("perm") not in (None, (1, 0)):
        sizes = node.spec(1).shape
        return _linear(node, 0, (node, 0), (node, 1)) if all(isinstance(d, int) and d > 0 for d in sizes) else None
    return _linear(node, 1, (node, 0), (turned, 0))


def _bias(node: Node, context: Context) -> Sequence[Node] | None:
    if node.op_type != "Add" or node.domain:
        return None
    for i in (0, 1):
        linear, bias = context.producer(node, i), node.spec(1 - i)
        if linear is None or (linear.domain, linear.op_type) != (DOMAIN, "Linear") or linear.has_input(2):
            continue
        transposed = int(linear.attr("transB"))
        if context.uses[node.input_names[i]] == 1 and bias.is_static and bias.shape == _units(linear, transposed):
            return _linear(node, transposed, (linear, 0), (linear, 1), (node, 1 - i))
    return None


def _units(node: Node, transposed: int) -> tuple[object, ...]:
    """(out,) of a call whose input 1 is the weight."""
    return node.spec(1).shape[:1] if transposed else node.spec(1).shape[1:]


def _linear(result: Node, transposed: int, *inputs: tuple[Node, int]) -> Sequence[Node]:
    return [rewritten("Linear", result, inputs, domain=DOMAIN, attributes={"transB": transposed})]


def _without_bias(node: Node, context: Context) -> Sequence[Node] | None:
    if node.op_type != "Conv" or node.domain or not node.is_const(2) or node.constants[2].any():
        return None
    return [
        replace(
            node,
            input_names=node.input_names[:2],
            inputs=node.inputs[:2],
            constants={i: a for i, a in node.constants.items() if i < 2},
        )
    ]


_PATTERNS: tuple[tuple[str, str, Pattern], ...] = (
    *(("", operator, pattern) for operator, pattern in WRITTEN_OUT),
    (DOMAIN, "Linear", _gemm),
    (DOMAIN, "Linear", _matmul),
    (DOMAIN, "Linear", _bias),
    ("", "Conv", _without_bias),
)
