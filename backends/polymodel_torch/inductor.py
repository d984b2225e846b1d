"""Generated code compiled by inductor, and what it must not look into."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polymodel_torch.compat import torch
from polymodel_torch.lower import Lowered
from polymodel_torch.rules.recurrent import fused_kernel


def compiled(lowered: Lowered) -> Callable[..., Any]:
    """The same function through torch.compile; it compiles at the first call.

    Fused recurrent kernels stay outside: inductor fails on the workspace of oneDNN's (see docs/framework-bugs.md).
    """
    module: Any = lowered.module
    outside = torch.compiler.disable(fused_kernel)
    for node in module.graph.nodes:
        if node.op == "call_function" and node.target is fused_kernel:
            node.target = outside
    module.recompile()
    function: Callable[..., Any] = torch.compile(module)
    return function
