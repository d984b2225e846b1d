"""The dense product x w^T + b on the kernel that is faster on this machine.

PyTorch gives float32 products on the CPU to MKL, which takes a slow path on processors that are not Intel's. oneDNN,
which PyTorch carries too, does not, but its operator has no derivative. `linear` gives it one: both products of the
backward pass are dense products again. Which of the two kernels is used is measured once in each process.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any, final

from polymodel_torch.compat import torch

_SIZE = (256, 512, 512)  # rows, inputs, outputs of the product that is timed: 67 million multiply-adds
_ROUNDS = 5
_GAIN = 1.15  # oneDNN must be this much faster: its weight reorder costs more on small products


def _onednn(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None) -> torch.Tensor:
    y: torch.Tensor = torch.ops.mkldnn._linear_pointwise.default(x, w, b, "none", [], "")
    return y


@lru_cache(maxsize=None)
def prefers_onednn() -> bool:
    """Whether oneDNN is faster than PyTorch's own choice for float32 products on this machine, by measurement.

    The best of some interleaved runs of each counts; the whole takes some ten milliseconds.
    """
    if not torch.backends.mkldnn.is_available():
        return False
    rows, inner, outer = _SIZE
    with torch.no_grad():
        x, w = torch.ones(rows, inner), torch.ones(outer, inner)
        best = {_onednn: float("inf"), torch._C._nn.linear: float("inf")}
        for _ in range(_ROUNDS):
            for kernel in best:
                start = time.perf_counter()
                kernel(x, w, None)
                best[kernel] = min(best[kernel], time.perf_counter() - start)
    return best[_onednn] * _GAIN < best[torch._C._nn.linear]


@final
class _Linear(torch.autograd.Function):  # type: ignore[misc]
    """x (n, in), w (out, in), b (out,) or None, all float32 on the CPU, on oneDNN in both directions."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(x, w)
        return _onednn(x, w, b)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, w = ctx.saved_tensors
        need_x, need_w, need_b = ctx.needs_input_grad
        return (
            _onednn(grad, w.t(), None) if need_x else None,
            _onednn(grad.t(), x.t(), None) if need_w else None,
            grad.sum(0) if need_b else None,
        )


def linear(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
    """x w^T + b for x (..., in), w (out, in), b (out,) or None."""
    if x.device.type != "cpu" or x.dtype != torch.float32 or not prefers_onednn() or 0 in x.shape:
        return torch._C._nn.linear(x, w, b)
    if x.dim() == 2:
        return _Linear.apply(x, w, b)
    return _Linear.apply(x.reshape(-1, x.shape[-1]), w, b).reshape(*x.shape[:-1], w.shape[0])
