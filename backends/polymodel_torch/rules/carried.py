"""What passes/carry_types.py asks of a framework besides operators of the standard."""

from __future__ import annotations

from typing import Any, final

from polymodel.plan import Node
from polymodel_torch.compat import torch
from polymodel_torch.rules.table import TABLE, leaf


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
