"""The oracle's table: which function evaluates which operator in float64.

A rule here is ``rule(node, *values)``, as in a backend, on Values instead of a framework's tensors. Operators without a
rule, and those that are not differentiable, run in the ONNX reference implementation (`reference.py`).
"""

from __future__ import annotations

from polymodel.rules import RuleTable

ORACLE = RuleTable("oracle")
