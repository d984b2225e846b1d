"""What goes between programs on several devices: copies of tensors, and sums on the first device.

PyTorch orders copies between CUDA devices behind the work of both, so nothing here waits for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from polymodel_torch.compat import torch
from polymodel_torch.layout import memory

if TYPE_CHECKING:
    from polymodel_torch.program import TorchProgram


@torch.no_grad()
def hand(first: TorchProgram, others: Sequence[TorchProgram]) -> None:
    """Overwrite parameters and buffers of others; tensors whose memory they share stay."""
    for other in others:
        for role in ("parameters", "buffers"):
            for name, tensor in first.state[role].items():
                target = other.state[role][name]
                if (target.device, memory(target)) != (tensor.device, memory(tensor)):
                    target.copy_(tensor)


@torch.no_grad()
def collect(first: TorchProgram, others: Sequence[TorchProgram]) -> None:
    """Add the gathered gradients of others, and make theirs zero."""
    for other in others:
        theirs = other.sums()
        torch._foreach_add_(first.sums(), [t.to(first.device) for t in theirs])
        torch._foreach_zero_(theirs)


@torch.no_grad()
def average(first: TorchProgram, others: Sequence[TorchProgram], shares: Sequence[float]) -> None:
    """Average the buffers that a step changes, into the first's."""
    assert first.training is not None
    for name in first.training.graph.updates:
        mean, *more = (p.state["buffers"][name] for p in (first, *others))
        if mean.is_floating_point():
            mean.mul_(shares[0])
            for tensor, share in zip(more, shares[1:], strict=True):
                mean.add_(tensor.to(first.device), alpha=share)
