"""Signal processing: DFT and STFT as products with the matrix of the transform, windows, mel weights, determinants."""

from __future__ import annotations

import numpy as np

from polymodel.plan import Node
from polymodel_conformance.oracle import primitives as p
from polymodel_conformance.oracle.table import ORACLE
from polymodel_conformance.oracle.tape import Array, Tape, Value


def _waves(t: Tape, rows: int, columns: int, length: int) -> tuple[Array, Array]:
    """cos and sin of 2 pi r c / length; the phase is reduced in integers."""
    phase = np.outer(np.arange(rows), np.arange(columns)) % length * (2.0 * np.pi / length)
    return t.rounded(np.cos(phase)), t.rounded(np.sin(phase))


def transform(x: Value, length: int, *, inverse: bool, onesided: bool) -> Value:
    """The transform along the axis before the last; x: (..., n, 1 or 2), zeros added or the end cut off to `length`.

    One-sided: only the first length // 2 + 1 frequencies are returned, or read by the inverse, whose result is real.
    """
    reads = length // 2 + 1 if inverse and onesided else length
    have = x.shape[-2]
    if have > reads:
        x = p.pick(x, (..., slice(0, reads), slice(None)))  # type: ignore[arg-type]
    elif have < reads:
        x = p.pad(x, [*[(0, 0)] * (x.ndim - 2), (0, reads - have), (0, 0)])
    re = p.pick(x, (..., 0))  # type: ignore[arg-type]
    im = p.pick(x, (..., 1)) if x.shape[-1] == 2 else None  # type: ignore[arg-type]
    if inverse and onesided:
        return _real_inverse(re, im, length)
    writes = length // 2 + 1 if onesided else length
    cos, sin = _waves(x.tape, reads, writes, length)
    sign = 1.0 if inverse else -1.0
    y_re, y_im = p.matmul(re, cos), p.matmul(re, sign * sin)
    if im is not None:
        y_re, y_im = p.sub(y_re, p.matmul(im, sign * sin)), p.add(y_im, p.matmul(im, cos))
    y = p.stack([y_re, y_im], y_re.ndim)
    return p.div(y, float(length)) if inverse else y


def _real_inverse(re: Value, im: Value | None, length: int) -> Value:
    """Frequencies that have a conjugate partner count twice."""
    count = np.full(re.shape[-1], 2.0)
    count[0] = 1.0
    if length % 2 == 0:
        count[-1] = 1.0
    cos, sin = _waves(re.tape, re.shape[-1], length, length)
    y = p.matmul(re, count[:, None] * cos)
    if im is not None:
        y = p.sub(y, p.matmul(im, np.where(count == 2.0, 2.0, 0.0)[:, None] * sin))
    return p.expand_dims(p.div(y, float(length)), y.ndim)


@ORACLE.rule("DFT", since=17)
def _dft(node: Node, x: Value, length: Value | None = None, axis: Value | None = None) -> Value:
    along = int(node.attr("axis")) if node.version < 20 else -2 if axis is None else int(axis.array.reshape(()))
    along %= x.ndim
    inverse, onesided = bool(node.attr("inverse")), bool(node.attr("onesided"))
    default = 2 * (x.shape[along] - 1) if inverse and onesided else x.shape[along]
    n = default if length is None else int(length.array.reshape(()))
    y = transform(p.swap(x, along, x.ndim - 2), n, inverse=inverse, onesided=onesided)
    return p.swap(y, along, x.ndim - 2)


@ORACLE.rule("STFT", since=17)
def _stft(
    node: Node, signal: Value, step: Value, window: Value | None = None, length: Value | None = None
) -> Value:
    hop = int(step.array.reshape(()))
    if signal.ndim == 2:
        signal = p.reshape(signal, (*signal.shape, 1))
    given = signal.shape[1] if window is None else window.shape[0]
    n = given if length is None else int(length.array.reshape(()))
    frames = (signal.shape[1] - n) // hop + 1
    index = np.arange(frames)[:, None] * hop + np.arange(n)
    flat = np.arange(signal.array.size).reshape(signal.shape)[:, index]
    taken = p.take(signal, flat)
    if window is not None:
        taken = p.mul(taken, p.reshape(window, (1, 1, n, 1)))
    return transform(taken, n, inverse=False, onesided=bool(node.attr("onesided")))


_COSINES = {
    "HannWindow": (0.5, 0.5, 0.0),
    "HammingWindow": (25.0 / 46.0, 21.0 / 46.0, 0.0),
    "BlackmanWindow": (0.42, 0.5, 0.08),
}


@ORACLE.rule(*_COSINES, since=17)
def _window(node: Node, size: Value) -> Value:
    n, t = int(size.array.reshape(())), size.tape
    a, b, c = _COSINES[node.op_type]
    turn = t.rounded(2.0 * np.pi * np.arange(n) / (n if node.attr("periodic") else n - 1))
    wave, second = t.rounded(np.cos(turn), 2), t.rounded(np.cos(2.0 * turn), 2)
    return t.value(t.rounded(t.rounded(a - t.rounded(b * wave)) + t.rounded(c * second)))


@ORACLE.rule("MelWeightMatrix", since=17)
def _mel(node: Node, bins: Value, length: Value, rate: Value, low: Value, high: Value) -> Value:
    """Triangles between points that are equidistant on the mel scale and rounded down to whole frequencies."""
    n, size, sampling = (int(v.array.reshape(())) for v in (bins, length, rate))
    bottom, top = (2595.0 * np.log10(1.0 + float(v.array.reshape(())) / 700.0) for v in (low, high))
    mel = np.arange(n + 2) * ((top - bottom) / (n + 2)) + bottom
    place = (size + 1) * (700.0 * (10.0 ** (mel / 2595.0) - 1.0)) / sampling
    bins.tape.kinks.decide(np.abs(place - np.round(place)))
    at = np.floor(place).astype(np.int64)
    y = np.zeros((size // 2 + 1, n))
    for i in range(n):
        start, centre, end = at[i : i + 3]
        if centre == start:
            y[centre, i] = 1.0
        else:
            y[start : centre + 1, i] = np.arange(centre - start + 1) / (centre - start)
        if end > centre:
            y[centre:end, i] = np.arange(end - centre, 0, -1) / (end - centre)
    return bins.tape.value(bins.tape.rounded(y))


@ORACLE.rule("Det", since=11)
def _det(node: Node, x: Value) -> Value:
    """Gaussian elimination gives the determinant of a matrix whose elements are off by some n u, of the largest elements that it
    met on the way and not of their own size: |L| |U|, not |A| (Higham, Accuracy and Stability of Numerical Algorithms, 2002, 9.3 and
    14.6)."""
    t, n = x.tape, x.shape[-1]
    largest = np.broadcast_to(np.abs(x.array).max((-2, -1), keepdims=True, initial=0.0), x.shape)
    a = x.array + (t.rounded(largest, max(n, 1)) - largest)

    def vjp(g: Array) -> list[Array]:
        cofactors = np.zeros(a.shape)
        for i in range(n):
            for j in range(n):
                minor = np.delete(np.delete(a, i, -2), j, -1)
                cofactors[..., i, j] = (-1.0) ** (i + j) * np.linalg.det(minor)
        return [t.rounded(g[..., None, None] * cofactors, max(n, 1))]

    return t.push(t.rounded(np.linalg.det(a)), (x,), vjp)
