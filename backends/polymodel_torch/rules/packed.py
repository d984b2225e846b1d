"""Sequences of different lengths on fused kernels.

1. An LSTM on oneDNN, whose kernel takes full sequences only, runs over all steps. One more input feature marks those
   behind the end; its weights shut the input gate and open the forget gate there, exactly (a sigmoid of +-10^4 is 0 or
   1), so that the cell stays as it was.
2. PyTorch's own kernels take sequences packed: step after step, longest first. A sequence without steps is packed with
   one.
3. What went wrong behind the ends is put right: outputs are zero, and states are those of the last step that counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from polymodel_torch.compat import torch

_T: TypeAlias = torch.Tensor
Kernel: TypeAlias = Callable[..., "tuple[torch.Tensor, ...]"]
"""(data, batch sizes, states) -> outputs and last states, all packed."""


_SHUT = 1e4


def run_marked(layer: Kernel, x: _T, w: _T, lengths: _T, h: _T | None, backward: bool) -> tuple[_T, _T, _T]:
    """Run an LSTM kernel in one direction.

    Args:
        layer: (x, weights) -> outputs (length, 1, batch, size), last hidden and cell state; from the first step on.
        x: (length, batch, in).
        w: (1, 4 * size, in), gates in the order input, output, forget, cell.
        lengths: (batch,) integers.
        h: initial hidden state (1, batch, size) or None.
        backward: whether the direction goes from the end of each sequence to its start.
    """
    length, size = x.shape[0], w.shape[1] // 4
    lengths = lengths.to(torch.int64).clamp(0, length)
    behind = (torch.arange(length, device=x.device).unsqueeze(1) >= lengths).unsqueeze(2)
    x = _turned(x, lengths) if backward else x
    x = torch.cat((torch.where(behind, torch.zeros((), dtype=x.dtype), x), behind.to(x.dtype)), 2)
    gates = torch.zeros((4, size), dtype=w.dtype)
    gates[0], gates[2] = -_SHUT, _SHUT
    y, _, cell = layer(x, torch.cat((w, gates.reshape(1, -1, 1)), 2))
    y = torch.where(behind, torch.zeros((), dtype=y.dtype), y.squeeze(1))
    at = (lengths - 1).clamp(min=0).reshape(1, -1, 1).expand(1, -1, size)
    start = torch.zeros((), dtype=y.dtype) if h is None else h
    last = torch.where((lengths > 0).unsqueeze(1), y.gather(0, at), start)
    return (_turned(y, lengths) if backward else y).unsqueeze(1), last, cell


def run_packed(kernel: Kernel, x: _T, lengths: _T, states: list[_T], backward: bool) -> tuple[_T, list[_T]]:
    """Run a kernel over x (length, batch, in).

    Args:
        kernel: see Kernel.
        x: inputs.
        lengths: (batch,) integers; what lies behind the end of a sequence is never read.
        states: initial states (directions, batch, size).
        backward: whether the only direction goes from the end of each sequence to its start.

    Returns:
        Outputs (length, batch, directions * size), zero behind the ends, and the last states.
    """
    length = x.shape[0]
    lengths = lengths.to(torch.int64).clamp(0, length)
    if backward:
        x = _turned(x, lengths)
    ordered, order = torch.sort(lengths.clamp(min=1), descending=True, stable=True)
    back = torch.argsort(order)
    data, sizes = torch._VF._pack_padded_sequence(x.index_select(1, order), ordered.cpu(), False)
    y, *last = kernel(data, sizes, [s.index_select(1, order) for s in states])
    y, _ = torch._VF._pad_packed_sequence(y, sizes, False, 0.0, length)
    there = (lengths > 0).unsqueeze(1)
    y = y.index_select(1, back)
    y = torch.where(there, y, torch.zeros((), dtype=y.dtype, device=y.device))
    ends = [torch.where(there, e.index_select(1, back), s) for e, s in zip(last, states, strict=True)]
    return _turned(y, lengths) if backward else y, ends


def _turned(x: _T, lengths: _T) -> _T:
    """Each sequence of x (length, batch, ...) in the other order; what lies behind its end stays."""
    steps = torch.arange(x.shape[0], device=x.device).unsqueeze(1)
    source = torch.where(steps < lengths, lengths - 1 - steps, steps)
    return x.gather(0, source.unsqueeze(2).expand_as(x))
