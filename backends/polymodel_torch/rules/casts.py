"""Conversions between element types, and what passes/carry_types.py asks for besides."""

from __future__ import annotations

from typing import Any, final

from polymodel.feeds import is_float
from polymodel.plan import Node
from polymodel_torch.compat import torch
from polymodel_torch.dtypes import from_enum, torch_dtype
from polymodel_torch.rules.table import TABLE, leaf


@TABLE.rule("Cast", since=13)
def cast(node: Node, x: Any) -> Any:
    target = from_enum(node.attr("to"))
    return _cast(x, target) if _truncates(node.dtype(), target) else x.to(target)


@TABLE.rule("CastLike", since=15)
def cast_like(node: Node, x: Any, like: Any) -> Any:
    target = torch_dtype(node.dtype(1))
    return _cast(x, target) if _truncates(node.dtype(), target) else x.to(target)


def _truncates(source: str, target: torch.dtype) -> bool:
    return is_float(source) and not target.is_floating_point and target != torch.bool


@leaf
def _cast(x: torch.Tensor, target: torch.dtype) -> torch.Tensor:
    """Floating point to integer by way of int64, so that small types wrap instead of meaning nothing."""
    return x.to(torch.int64).to(target)


@TABLE.rule("PassThrough", since=1, domain="polymodel")
def pass_through(node: Node, x: Any, value: Any) -> Any:
    """The second input, with the derivative of the first."""
    return _pass_through(x, value)


@leaf
def _pass_through(x: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = _PassThrough.apply(x, value)
    return result


@final
class _PassThrough(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> tuple[torch.Tensor, None]:
        return cotangents[0], None
