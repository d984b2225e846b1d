"""Comparisons, boolean and bitwise operators, selection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polymodel.plan import Node
from polymodel_torch.compat import torch
from polymodel_torch.dtypes import from_enum
from polymodel_torch.rules.table import TABLE, leaf

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


@TABLE.rule("BitShift", since=11)
def bit_shift(node: Node, x: Any, by: Any) -> Any:
    return _shift(x, by, node.attr("direction") == "LEFT")


@leaf
def _shift(x: torch.Tensor, by: torch.Tensor, left: bool) -> torch.Tensor:
    """A shift by a negative number or by the width or more leaves nothing of the value but, to the right, its sign."""
    width = x.element_size() * 8
    beyond = (by < 0) | (by >= width)
    kept = torch.where(beyond, width - 1, by)
    if left:
        return torch.where(beyond, 0, torch.bitwise_left_shift(x, kept))
    shifted = torch.bitwise_right_shift(x, kept)
    return shifted if x.dtype.is_signed else torch.where(beyond, 0, shifted)


@TABLE.rule("BitCast", since=26)
def bit_cast(node: Node, x: Any) -> Any:
    return x.view(from_enum(node.attr("to")))
