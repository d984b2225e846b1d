"""The recurrence of LSTM, GRU and RNN written out step by step, with everything that the fused kernels lack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np

from polymodel_torch.compat import torch

_T: TypeAlias = torch.Tensor
_Act: TypeAlias = Callable[[torch.Tensor], torch.Tensor]


@final
@dataclass(frozen=True)
class Cell:
    """Attributes of the operator.

    Attributes:
        kind: "LSTM", "GRU" or "RNN".
        activations: names, for one direction after the other.
        alpha, beta: values for those activations that take them, in that order.
        clip: limit of what goes into the activations of gates, as ONNX Runtime has it; LSTM's last one squashes the cell.
        couple: LSTM's input_forget: the forget gate is 1 - the input gate.
        reset_after: GRU's linear_before_reset.
    """

    kind: str
    activations: tuple[str, ...]
    alpha: tuple[float, ...] = ()
    beta: tuple[float, ...] = ()
    clip: float | None = None
    couple: bool = False
    reset_after: bool = False


# Numbers of the standard are float32.
_HUNDREDTH, _FIFTH = float(np.float32(0.01)), float(np.float32(0.2))
_ALPHA = {"affine": 1.0, "leakyrelu": _HUNDREDTH, "thresholdedrelu": 1.0, "scaledtanh": 1.0, "hardsigmoid": _FIFTH, "elu": 1.0}
_BETA = {"affine": 0.0, "scaledtanh": 1.0, "hardsigmoid": 0.5}


def _function(name: str, a: float, b: float) -> _Act:
    table: dict[str, _Act] = {
        "relu": torch.relu,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "affine": lambda x: a * x + b,
        "leakyrelu": lambda x: torch.where(x < 0, a * x, x),
        "thresholdedrelu": lambda x: torch.where(x >= a, x, torch.zeros_like(x)),
        "scaledtanh": lambda x: a * torch.tanh(b * x),
        "hardsigmoid": lambda x: torch.clamp(a * x + b, 0, 1),
        "elu": lambda x: torch.nn.functional.elu(x, a),
        "softsign": lambda x: x / (1 + x.abs()),
        "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
    }
    return table[name]


def _functions(cell: Cell) -> list[_Act]:
    alpha, beta = iter(cell.alpha), iter(cell.beta)
    result: list[_Act] = []
    for name in (n.lower() for n in cell.activations):
        a = next(alpha, _ALPHA[name]) if name in _ALPHA else 0.0
        b = next(beta, _BETA[name]) if name in _BETA else 0.0
        act = _function(name, a, b)
        squashes_cell = cell.kind == "LSTM" and len(result) % 3 == 2  # h of the standard: its input is not clipped
        result.append(_clipped(act, cell.clip) if cell.clip and not squashes_cell else act)
    return result


def _clipped(function: _Act, limit: float) -> _Act:
    return lambda x: function(torch.clamp(x, -limit, limit))


def scan(
    cell: Cell, direction: str, layout: int, x: _T, w: _T, r: _T, b: _T | None, lengths: _T | None,
    h: _T | None, c: _T | None, p: _T | None,
) -> tuple[_T, _T, _T]:
    """Run the recurrence.

    Args:
        cell: attributes.
        direction: "forward", "reverse" or "bidirectional".
        layout: 1 where batch is the first axis of x, h, c and of the results.
        x: (length, batch, in).
        w: (directions, gates * size, in).
        r: (directions, gates * size, size).
        b: (directions, 2 * gates * size) or None.
        lengths: (batch,) or None; behind the end of a sequence outputs are 0 and states stay.
        h: (directions, batch, size) or None.
        c: as h; LSTM only.
        p: peepholes (directions, 3 * size) in the order i, o, f, or None; LSTM only.

    Returns:
        Y (length, directions, batch, size), the last h and the last c (directions, batch, size).
    """
    if layout:
        x = x.transpose(0, 1)
        h, c = (None if s is None else s.transpose(0, 1) for s in (h, c))
    zeros = x.new_zeros((w.shape[0], x.shape[1], r.shape[2]))
    h, c = (zeros if s is None else s for s in (h, c))
    functions = _functions(cell)
    per = len(functions) // w.shape[0]
    outputs, lasts, cells = [], [], []
    for d in range(w.shape[0]):
        backward = direction == "reverse" or d == 1
        own = functions[d * per : (d + 1) * per]
        step = _STEPS[cell.kind](cell, own, w[d], r[d], None if b is None else b[d], None if p is None else p[d])
        y, last, last_c = _run(step, x, h[d], c[d], lengths, backward)
        outputs.append(y)
        lasts.append(last)
        cells.append(last_c)
    y, last, last_c = torch.stack(outputs, 1), torch.stack(lasts), torch.stack(cells)
    if layout:
        return y.permute(2, 0, 1, 3), last.transpose(0, 1), last_c.transpose(0, 1)
    return y, last, last_c


_Step: TypeAlias = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], "tuple[torch.Tensor, torch.Tensor]"]


def _run(step: _Step, x: _T, h: _T, c: _T, lengths: _T | None, backward: bool) -> tuple[_T, _T, _T]:
    outputs: list[_T] = [h] * x.shape[0]
    for t in reversed(range(x.shape[0])) if backward else range(x.shape[0]):
        new_h, new_c = step(x[t], h, c)
        outputs[t] = new_h
        if lengths is not None:
            alive = (lengths > t).unsqueeze(1)
            outputs[t] = torch.where(alive, new_h, torch.zeros_like(new_h))
            new_h, new_c = torch.where(alive, new_h, h), torch.where(alive, new_c, c)
        h, c = new_h, new_c
    y = torch.stack(outputs) if outputs else x.new_zeros((0, *h.shape))
    return y, h, c


def _biases(b: _T | None, w: _T) -> tuple[_T, _T]:
    both = w.new_zeros(2 * w.shape[0]) if b is None else b
    return both[: w.shape[0]], both[w.shape[0] :]


def _lstm(cell: Cell, f: list[_Act], w: _T, r: _T, b: _T | None, p: _T | None) -> _Step:
    bw, br = _biases(b, w)
    pi, po, pf = p.chunk(3) if p is not None else (None, None, None)

    def step(x: _T, h: _T, c: _T) -> tuple[_T, _T]:
        i, o, forget, g = (x @ w.T + h @ r.T + (bw + br)).chunk(4, 1)
        i = f[0](i if pi is None else i + pi * c)
        keep = 1 - i if cell.couple else f[0](forget if pf is None else forget + pf * c)
        c = keep * c + i * f[1](g)
        o = f[0](o if po is None else o + po * c)
        return o * f[2](c), c

    return step


def _gru(cell: Cell, f: list[_Act], w: _T, r: _T, b: _T | None, p: _T | None) -> _Step:
    (bw, br), size = _biases(b, w), r.shape[1]

    def step(x: _T, h: _T, c: _T) -> tuple[_T, _T]:
        xs = x @ w.T + bw
        zr = f[0](xs[:, : 2 * size] + h @ r[: 2 * size].T + br[: 2 * size])
        z, reset = zr.chunk(2, 1)
        if cell.reset_after:
            new = f[1](xs[:, 2 * size :] + reset * (h @ r[2 * size :].T + br[2 * size :]))
        else:
            new = f[1](xs[:, 2 * size :] + (reset * h) @ r[2 * size :].T + br[2 * size :])
        return (1 - z) * new + z * h, c

    return step


def _rnn(cell: Cell, f: list[_Act], w: _T, r: _T, b: _T | None, p: _T | None) -> _Step:
    bw, br = _biases(b, w)

    def step(x: _T, h: _T, c: _T) -> tuple[_T, _T]:
        return f[0](x @ w.T + h @ r.T + (bw + br)), c

    return step


_STEPS = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}
