"""One direction of an LSTM layer on oneDNN, with ONNX's order of gates on the outside.

torch.lstm calls the same kernel, but as a dozen differentiable pieces: with gates put in order in front of it, what
surrounds the kernel costs several percent of a step of the reference model. Here all of it is one operation.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, final

from polymodel_torch.compat import torch

_LSTM = 2  # PyTorch's number for the kind of cell
_ORDER = torch.tensor([0, 2, 3, 1])  # i, o, f, c -> i, f, c, o
_BACK = torch.tensor([0, 3, 1, 2])


def _turn(w: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """w (4 * size, ...) with its gates in another order; selecting rows takes half the time of joining slices."""
    return w.view(4, -1).index_select(0, order).view(w.shape)


@lru_cache(maxsize=2)
def _zeros(shape: torch.Size) -> torch.Tensor:
    """The derivative of outputs that nothing depends on, which the kernel would fill anew in every step. Only read."""
    return torch.zeros(shape)


@final
class _Layer(torch.autograd.Function):  # type: ignore[misc]
    """x (length, batch, in), w (1, 4 * size, in), r (1, 4 * size, size), b (1, 8 * size) or None, h and c (1, batch, size).

    All are float32 on the CPU; h and c may be None, for zeros. Returns the outputs (length, 1, batch, size) and the last
    h and c. The axis of one direction comes and goes in here: each view outside would be a step of the backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        w: torch.Tensor,
        r: torch.Tensor,
        b: torch.Tensor | None,
        h: torch.Tensor | None,
        c: torch.Tensor | None,
        reverse: bool,
        train: bool,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        size, batch = r.shape[2], x.shape[1]
        none = x.new_zeros(4 * size)
        bias = none if b is None else _turn(b.view(2, 4 * size).sum(0), _ORDER)  # oneDNN adds PyTorch's two biases
        state = x.new_zeros((batch, size)) if h is None or c is None else none
        h, c = (state if s is None else s.detach().reshape(batch, size).contiguous() for s in (h, c))
        tensors = (x.detach().contiguous(), _turn(w[0], _ORDER), _turn(r[0], _ORDER), bias, none, h, c)
        settings = (_LSTM, size, 1, True, False)
        with torch.set_grad_enabled(train):  # without it the kernel keeps nothing for the backward pass
            results = torch.ops.aten.mkldnn_rnn_layer.default(*tensors, reverse, [], *settings, False, train)
        y, last, cell, workspace = results
        if train:
            ctx.set_materialize_grads(False)
            ctx.save_for_backward(*tensors, y, last, cell, workspace)
            ctx.reverse, ctx.size, ctx.has_bias = reverse, size, b is not None
        return y.unsqueeze(1), last.unsqueeze(0), cell.unsqueeze(0)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, dy: torch.Tensor | None, dlast: torch.Tensor | None, dcell: torch.Tensor | None
    ) -> tuple[torch.Tensor | None, ...]:
        *tensors, workspace = ctx.saved_tensors
        grads = (_zeros(tensors[-3].shape) if dy is None else dy.squeeze(1), *(g if g is None else g.squeeze(0) for g in (dlast, dcell)))
        dx, dw, dr, db, _, dh, dc = torch.ops.aten.mkldnn_rnn_layer_backward.default(
            *tensors, *grads, ctx.reverse, _LSTM, ctx.size, 1, True, True, False, [], False, workspace
        )
        bias = _turn(db, _BACK).repeat(1, 2) if ctx.has_bias else None
        weights = (_turn(dw, _BACK).unsqueeze(0), _turn(dr, _BACK).unsqueeze(0), bias)
        states = (g.unsqueeze(0) if need else None for g, need in zip((dh, dc), ctx.needs_input_grad[4:6], strict=True))
        return dx, *weights, *states, None, None


def layer(
    x: torch.Tensor,
    w: torch.Tensor,
    r: torch.Tensor,
    b: torch.Tensor | None,
    h: torch.Tensor | None,
    c: torch.Tensor | None,
    reverse: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """See _Layer; y comes in the order of time in both directions."""
    results: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = _Layer.apply(
        x, w, r, b, h, c, reverse, torch.is_grad_enabled()
    )
    return results
