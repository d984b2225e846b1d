"""Comparisons, boolean and bitwise operators, selection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polymodel.plan import Node
from polymodel_torch.compat import torch
from polymodel_torch.rules.table import TABLE

_PLAIN: dict[str, tuple[int, Callable[..., Any]]] = {
    "Equal": (13, torch.eq),
    "Less": (13, torch.lt),
    "LessOrEqual": (12, torch.le),
    "Greater": (13, torch.gt),
    "GreaterOrEqual": (12, torch.ge),
    "And": (7, torch.logical_and),
    "Or": (7, torch.logical_or),
    "Xor": (7, torch.logical_xor),
    "Not": (1, torch.logical_not),
    "BitwiseAnd": (18, torch.bitwise_and),
    "BitwiseOr": (18, torch.bitwise_or),
    "BitwiseXor": (18, torch.bitwise_xor),
    "BitwiseNot": (18, torch.bitwise_not),
    "IsNaN": (13, torch.isnan),
    "Where": (16, torch.where),
}


def _register_plain() -> None:
    for op_type, (since, function) in _PLAIN.items():
        TABLE.rule(op_type, since=since)(lambda node, *inputs, f=function: f(*inputs))


_register_plain()


@TABLE.rule("IsInf", since=10)
def isinf(node: Node, x: Any) -> Any:
    positive, negative = node.attr("detect_positive"), node.attr("detect_negative")
    if positive and negative:
        return torch.isinf(x)
    if positive:
        return torch.isposinf(x)
    return torch.isneginf(x) if negative else torch.zeros_like(x, dtype=torch.bool)
