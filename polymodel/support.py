"""How a backend would run an operator: asked of the tables, nothing is compiled."""

from __future__ import annotations

from typing import Any

import onnx

from polymodel.bodies import BODIES
from polymodel.errors import GraphError
from polymodel.host import HOST
from polymodel.inference import OPSET, schema
from polymodel.passes.control_flow import CONTROL
from polymodel.passes.expand_functions import STANDARD
from polymodel.rules import RuleTable

COMPILED, BODY, FUNCTION, UNROLLED, ON_HOST, MISSING = "compiled", "body", "function", "control", "host", "missing"
WORDS = {
    COMPILED: "the backend's own rule",
    BODY: "compiled as other operators, by polymodel/bodies",
    FUNCTION: "compiled as other operators, by the standard's function",
    UNROLLED: "written out where it can be seen ahead, else run in turns",
    ON_HOST: "runs in NumPy between compiled parts, without derivatives",
    MISSING: "nothing runs it",
}
"""What the words of `support` mean."""


def support(table: RuleTable, domain: str, op_type: str, opset: int) -> str:
    """One of WORDS.

    Args:
        table: rules of a backend.
        domain: operator set, "" for ai.onnx.
        op_type: the operator.
        opset: version of the operator set.

    Example:
        >>> support(RuleTable("empty"), "", "If", 23), support(RuleTable("empty"), "com.acme", "Swirl", 1)
        ('control', 'missing')
    """
    return _support(table, domain, op_type, opset, frozenset())


def _support(table: RuleTable, domain: str, op_type: str, opset: int, outer: frozenset[str]) -> str:
    try:
        known: Any = schema(op_type, domain, opset)
    except GraphError:
        return MISSING
    if (rule := table.for_version(domain, op_type, known.since_version)) is not None:
        return ON_HOST if rule.host else COMPILED
    if op_type in CONTROL and not domain:
        return UNROLLED
    if (domain, op_type) == ("ai.onnx.preview", "FlexAttention"):
        return BODY  # passes/flex_attention.py
    if op_type in ("Shape", "Size", "Constant") and not domain:
        return COMPILED
    if BODIES.for_version(domain, op_type, known.since_version) is not None:
        return BODY
    if domain in STANDARD and op_type not in outer and _function_runs(table, known, outer | {op_type}):
        return FUNCTION
    return ON_HOST if (domain, op_type) in HOST else MISSING


def _function_runs(table: RuleTable, known: Any, outer: frozenset[str]) -> bool:
    """Whether there is a function whose operators all run; of one that depends on types only that it is there."""
    if not known.has_function:
        return bool(known.has_context_dependent_function)
    function = onnx.FunctionProto()
    version = max(known.function_opset_versions)
    function.ParseFromString(known.get_function_with_opset_version(version))
    opsets = {o.domain: o.version if o.domain else max(o.version, OPSET) for o in function.opset_import}
    version = max(version, OPSET)  # expand_functions lifts it
    words = [_support(table, n.domain, n.op_type, opsets.get(n.domain, version), outer) for n in function.node]
    return all(w not in (MISSING, ON_HOST) for w in words)
