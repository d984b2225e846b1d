"""LSTM, GRU and RNN, one step at a time, by the equations of the ONNX standard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from polymodel.plan import Node
from polymodel_conformance.oracle import primitives as p
from polymodel_conformance.oracle.curves import CURVES
from polymodel_conformance.oracle.table import ORACLE
from polymodel_conformance.oracle.tape import Value

Activation: TypeAlias = Callable[[Value], Value]
Cell: TypeAlias = Callable[[Value, list[Value]], list[Value]]


def _activation(name: str, alpha: float | None, beta: float | None) -> Activation:
    def relu(x: Value) -> Value:
        return p.where(p.step(x), x, 0.0)

    def leaky(x: Value) -> Value:
        return p.where(p.step(x), x, p.mul(x, 0.01 if alpha is None else alpha))

    def hard(x: Value) -> Value:
        line = p.add(p.mul(x, 0.2 if alpha is None else alpha), 0.5 if beta is None else beta)
        return p.where(p.step(line), p.where(p.step(p.neg(line), -1.0), line, 1.0), 0.0)

    def affine(x: Value) -> Value:
        return p.add(p.mul(x, 1.0 if alpha is None else alpha), 0.0 if beta is None else beta)

    def softsign(x: Value) -> Value:
        return p.unary(x, lambda v: v / (1 + np.abs(v)), lambda v, y: 1 / (1 + np.abs(v)) ** 2, 3)

    def elu(x: Value) -> Value:
        low = p.unary(p.where(x.array > 0, 0.0, x), np.expm1, lambda v, y: np.exp(v), 4)
        return p.where(p.step(x), x, p.mul(low, 1.0 if alpha is None else alpha))

    def thresholded(x: Value) -> Value:
        return p.where(p.step(x, 1.0 if alpha is None else alpha), x, 0.0)

    def scaled_tanh(x: Value) -> Value:
        inner = p.mul(x, 1.0 if beta is None else beta)
        return p.mul(p.unary(inner, *CURVES["Tanh"]), 1.0 if alpha is None else alpha)

    special = {"relu": relu, "leakyrelu": leaky, "hardsigmoid": hard, "affine": affine, "softsign": softsign}
    special |= {"elu": elu, "thresholdedrelu": thresholded, "scaledtanh": scaled_tanh}
    if name.lower() in special:
        return special[name.lower()]
    curve = CURVES[name.capitalize()]
    return lambda x: p.unary(x, *curve)


_ALPHA = {"leakyrelu", "thresholdedrelu", "scaledtanh", "hardsigmoid", "elu", "affine"}
_BETA = {"scaledtanh", "hardsigmoid", "affine"}


def _activations(node: Node, direction: int, count: int) -> list[Activation]:
    """The functions of one direction; each takes its alpha and beta from the lists, if it has one, in order."""
    names = list(node.attr("activations") or ())
    if not names:
        names = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}[node.op_type]
        names = names * (direction + 1)
    alphas, betas = iter(node.attr("activation_alpha") or ()), iter(node.attr("activation_beta") or ())
    made = []
    for name in names:
        alpha = next(alphas, None) if name.lower() in _ALPHA else None
        made.append(_activation(name, alpha, next(betas, None) if name.lower() in _BETA else None))
    return made[direction * count : (direction + 1) * count]


def _clipped(node: Node, x: Value) -> Value:
    """What goes into the functions of the gates; as in ONNX Runtime, the cell itself is not clipped."""
    clip = node.attr("clip")
    if not clip:
        return x
    x = p.where(p.step(x, clip), float(clip), x)
    return p.where(p.step(p.neg(x), clip), -float(clip), x)


def _unrolled(node: Node, x: Value, states: list[Value], lens: Any, reverse: bool, cell: Cell) -> tuple[Value, list[Value]]:
    """Run a cell over time. x: (T, B, I); states: (B, H) each, the first is the output."""
    steps, outs = x.shape[0], []
    order = range(steps - 1, -1, -1) if reverse else range(steps)
    placed: dict[int, Value] = {}
    for i in order:
        new = cell(p.pick(x, (i,)), states)
        if lens is None:
            states = new
            placed[i] = new[0]
        else:
            live = (i < lens)[:, None]
            states = [p.where(live, n, s) for n, s in zip(new, states, strict=True)]
            placed[i] = p.where(live, new[0], 0.0)
    outs = [placed[i] for i in range(steps)]
    return p.stack(outs), states


def _run(
    node: Node, x: Value, w: Value, r: Value, b: Value | None, lens: Value | None, initial: list[Value | None],
    gates: int, make: Callable[[int, Value, Value, Value], Cell],
) -> tuple[Value, ...]:
    hidden, directions = r.shape[-1], w.shape[0]
    if node.attr("layout"):
        x = p.swap(x, 0, 1)
        initial = [None if s is None else p.swap(s, 0, 1) for s in initial]
    batch = x.shape[1]
    lengths = None if lens is None else lens.array
    zero = x.tape.value(np.zeros((batch, hidden)))
    ys, finals = [], []
    for d in range(directions):
        bias = p.pick(b, (d,)) if b is not None else x.tape.value(np.zeros(2 * gates * hidden))
        cell = make(d, p.pick(w, (d,)), p.pick(r, (d,)), bias)
        start = [zero if s is None else p.pick(s, (d,)) for s in initial]
        reverse = d == 1 or node.attr("direction") == "reverse"
        y, last = _unrolled(node, x, start, lengths, reverse, cell)
        ys.append(y)
        finals.append(last)
    out = [p.stack(ys, 1), *(p.stack([f[i] for f in finals]) for i in range(len(initial)))]
    if node.attr("layout"):
        out = [p.transpose(out[0], (2, 0, 1, 3)), *(p.swap(s, 0, 1) for s in out[1:])]
    return tuple(out)


def _linear(x: Value, w: Value, b: Value) -> Value:
    return p.add(p.matmul(x, p.transpose(w, (1, 0))), b)


def _chunks(x: Value, n: int) -> list[Value]:
    size = x.shape[-1] // n
    return [p.pick(x, (..., slice(i * size, (i + 1) * size))) for i in range(n)]  # type: ignore[arg-type]


def _rows(x: Value, n: int) -> list[Value]:
    size = x.shape[0] // n
    return [p.pick(x, (slice(i * size, (i + 1) * size),)) for i in range(n)]


@ORACLE.rule("LSTM", since=7)
def _lstm(
    node: Node, x: Value, w: Value, r: Value, b: Value | None = None, lens: Value | None = None,
    h0: Value | None = None, c0: Value | None = None, peep: Value | None = None,
) -> tuple[Value, ...]:
    def make(d: int, wd: Value, rd: Value, bd: Value) -> Cell:
        f, g, h = _activations(node, d, 3)
        wb, rb = _rows(bd, 2)
        holes = _rows(p.pick(peep, (d,)), 3) if peep is not None else None

        def cell(xt: Value, state: list[Value]) -> list[Value]:
            before, c = state
            i, o, forget, new = _chunks(p.add(_linear(xt, wd, wb), _linear(before, rd, rb)), 4)
            if holes is not None:
                i, forget = p.add(i, p.mul(holes[0], c)), p.add(forget, p.mul(holes[2], c))
            i = f(_clipped(node, i))
            forget = p.sub(1.0, i) if node.attr("input_forget") else f(_clipped(node, forget))
            c = p.add(p.mul(forget, c), p.mul(i, g(_clipped(node, new))))
            if holes is not None:
                o = p.add(o, p.mul(holes[1], c))
            # The cell itself is not clipped: so ONNX Runtime has it, in 50 of 50 random cases.
            return [p.mul(f(_clipped(node, o)), h(c)), c]

        return cell

    return _run(node, x, w, r, b, lens, [h0, c0], 4, make)


@ORACLE.rule("GRU", since=7)
def _gru(
    node: Node, x: Value, w: Value, r: Value, b: Value | None = None, lens: Value | None = None, h0: Value | None = None
) -> tuple[Value, ...]:
    def make(d: int, wd: Value, rd: Value, bd: Value) -> Cell:
        f, g = _activations(node, d, 2)
        wb, rb = _rows(bd, 2)
        (rz, rr, rh), (bz, br, bh) = _rows(rd, 3), _rows(rb, 3)

        def cell(xt: Value, state: list[Value]) -> list[Value]:
            before = state[0]
            xz, xr, xh = _chunks(_linear(xt, wd, wb), 3)
            z = f(_clipped(node, p.add(xz, _linear(before, rz, bz))))
            reset = f(_clipped(node, p.add(xr, _linear(before, rr, br))))
            if node.attr("linear_before_reset"):
                inner = p.mul(reset, _linear(before, rh, bh))
            else:
                inner = _linear(p.mul(reset, before), rh, bh)
            new = g(_clipped(node, p.add(xh, inner)))
            return [p.add(p.mul(p.sub(1.0, z), new), p.mul(z, before))]

        return cell

    return _run(node, x, w, r, b, lens, [h0], 3, make)


@ORACLE.rule("RNN", since=7)
def _rnn(
    node: Node, x: Value, w: Value, r: Value, b: Value | None = None, lens: Value | None = None, h0: Value | None = None
) -> tuple[Value, ...]:
    def make(d: int, wd: Value, rd: Value, bd: Value) -> Cell:
        (f,) = _activations(node, d, 1)
        wb, rb = _rows(bd, 2)

        def cell(xt: Value, state: list[Value]) -> list[Value]:
            return [f(_clipped(node, p.add(_linear(xt, wd, wb), _linear(state[0], rd, rb))))]

        return cell

    return _run(node, x, w, r, b, lens, [h0], 1, make)
