"""DFT and STFT as products with constant matrices of cosines and sines: linear, so the derivative is exact too.

1. A length up to `_DIRECT` is one real matrix product: rows are the real and imaginary parts that come in, columns those
   that go out. Zero padding, cutting, the one-sided half and 1/N are in the matrix.
2. A longer composite length N1 * N2 is N2 transforms of length N1, a rotation of every element, and N1 transforms of
   length N2 (J. W. Cooley, J. W. Tukey, 1965).
3. A longer prime length is a convolution, done by transforms of a power of two (L. I. Bluestein, 1970).
"""

from __future__ import annotations

import numpy as np

from polymodel.bodies.table import BODIES, Body
from polymodel.errors import ShapeError
from polymodel.plan import Node

_DIRECT = 512


@BODIES.rule("DFT", since=20)
def dft(b: Body, node: Node, x: str, length: str | None = None, axis: str | None = None) -> str:
    """(..., n, ..., 1 or 2) -> (..., bins, ..., 2), or (..., length, ..., 1) for the one-sided inverse."""
    shape, rank, dtype = list(node.shape()), node.rank(), node.dtype()
    where = int(node.const(2).reshape(())) % rank if axis is not None else rank - 2
    if where == rank - 1:
        raise ShapeError(f"{node}: axis {where} holds real and imaginary parts; the transform is along another one")
    inverse, onesided = bool(node.attr("inverse")), bool(node.attr("onesided"))
    given, parts = shape[where], shape[-1]
    n = 2 * (given - 1) if inverse and onesided else given
    n = int(node.const(1).reshape(())) if length is not None else n
    work = dtype if dtype in ("float32", "float64") else "float32"
    others = [a for a in range(rank - 1) if a != where]
    perm = [*others, where, rank - 1]
    rows = [shape[a] for a in others]
    x = b.call("Transpose", b.cast(x, work), perm=perm) if perm != list(range(rank)) else b.cast(x, work)
    x = b.reshape(x, (int(np.prod(rows)), given, parts))
    back = inverse and onesided
    bins = n // 2 + 1 if onesided and not inverse else n
    if n <= _DIRECT:
        y = _times(b, x, direct(n, given, parts, bins, inverse, back), work)
        y = b.reshape(y, (*rows, bins, 1 if back else 2))
    else:
        y = b.reshape(_long(b, x, n, inverse, back, bins, work), (*rows, bins, 1 if back else 2))
    y = b.call("Transpose", y, perm=[int(a) for a in np.argsort(perm)]) if perm != list(range(rank)) else y
    return b.cast(y, dtype)


@BODIES.rule("STFT", since=17)
def stft(
    b: Body, node: Node, signal: str, frame_step: str, window: str | None = None, frame_length: str | None = None
) -> str:
    """(batch, samples[, 1 or 2]) -> (batch, frames, bins, 2): frames are taken by index, weighted and transformed."""
    samples = node.dim(0, 1)
    if node.rank() == 2:
        signal = b.call("Unsqueeze", signal, b.constant([2], "int64"))
    step = int(node.const(1).reshape(()))
    if frame_length is not None:
        length = int(node.const(3).reshape(()))
    else:
        length = samples if window is None else node.dim(2, 0)
    if window is not None and node.dim(2, 0) != length:
        raise ShapeError(f"{node}: the window has {node.dim(2, 0)} elements, frame_length is {length}")
    if step < 1 or length > samples:
        raise ShapeError(f"{node}: frames of {length} every {step} do not fit into {samples} samples")
    frames = (samples - length) // step + 1
    index = np.arange(frames)[:, None] * step + np.arange(length)
    seen = b.call("Gather", signal, b.constant(index, "int64"), axis=1)
    if window is not None:
        seen = b.call("Mul", seen, b.reshape(window, (length, 1)))
    axis = b.constant(2, "int64")
    return b.call("DFT", seen, b.constant(length, "int64"), axis, onesided=int(node.attr("onesided")))


def direct(n: int, given: int, parts: int, bins: int, inverse: bool, back: bool) -> np.ndarray:
    """The (given * parts, bins * outgoing parts) real matrix of a transform.

    Args:
        n: length of the transform.
        given: elements that come in; more than n are cut, fewer are zero-padded.
        parts: 1 for real, 2 for real and imaginary.
        bins: elements that go out, from the first.
        inverse: positive exponent, and 1/n.
        back: from the one-sided half to a real signal.
    """
    sign = 1 if inverse else -1
    angle = sign * 2 * np.pi * (np.outer(np.arange(n), np.arange(bins)) % n) / max(n, 1)
    wave = np.exp(1j * angle) / (n if inverse else 1)
    if back:  # what is not given mirrors it; the first and the middle element have no partner
        wave = wave[: n // 2 + 1] * np.where((np.arange(n // 2 + 1) == 0) | (2 * np.arange(n // 2 + 1) == n), 1, 2)[:, None]
    matrix = np.zeros((given, parts, bins, 1 if back else 2))
    used = min(given, len(wave))
    matrix[:used, 0, :, 0] = wave.real[:used]
    if parts == 2:
        matrix[:used, 1, :, 0] = -wave.imag[:used]
    if not back:
        matrix[:used, 0, :, 1] = wave.imag[:used]
        if parts == 2:
            matrix[:used, 1, :, 1] = wave.real[:used]
    return matrix.reshape(given * parts, -1)


def _times(b: Body, x: str, matrix: np.ndarray, work: str) -> str:
    """(..., n, parts) flattened over its last two axes, times a matrix."""
    shape = [int(d) for d in b.spec(x).shape]  # type: ignore[arg-type]
    return b.call("MatMul", b.reshape(x, (*shape[:-2], matrix.shape[0])), b.constant(matrix, work))


def _long(b: Body, x: str, n: int, inverse: bool, back: bool, bins: int, work: str) -> str:
    rows, given, parts = (int(d) for d in b.spec(x).shape)  # type: ignore[arg-type]
    if parts == 1:
        x = b.call("Pad", x, b.constant([0, 0, 0, 0, 0, 1], "int64"), mode="constant")
    if back:
        half = n // 2 + 1
        x = _fit(b, x, given, half)
        mirror = b.call("Gather", x, b.constant(np.arange(n - half, 0, -1), "int64"), axis=1)
        mirror = b.call("Mul", mirror, b.constant([1, -1], work))
        real = np.ones((half, 2))
        real[0, 1] = 0  # imaginary parts that a real signal cannot have
        real[-1, 1] = 0 if n % 2 == 0 else 1
        x = b.call("Concat", b.call("Mul", x, b.constant(real, work)), mirror, axis=1)
    else:
        x = _fit(b, x, given, n)
    y = _transform(b, x, rows, n, 1 if inverse else -1, work)
    if inverse:
        y = b.call("Mul", y, b.constant(1 / n, work))
    y = _fit(b, y, n, bins)
    return _part(b, y, 0) if back else y


def _fit(b: Body, x: str, given: int, wanted: int) -> str:
    """(rows, given, 2) cut or zero-padded along axis 1."""
    if given == wanted:
        return x
    return b.call("Pad", x, b.constant([0, 0, 0, 0, wanted - given, 0], "int64"), mode="constant")


def _part(b: Body, x: str, i: int) -> str:
    return b.call("Slice", x, *(b.constant([v], "int64") for v in (i, i + 1, -1)))


def _transform(b: Body, x: str, rows: int, n: int, sign: int, work: str) -> str:
    """(rows, n, 2) -> (rows, n, 2): sum over the axis with exp(sign 2 pi i k m / n)."""
    if n <= _DIRECT:
        matrix = direct(n, n, 2, n, sign > 0, False) * (n if sign > 0 else 1)
        return b.reshape(_times(b, x, matrix, work), (rows, n, 2))
    first = max((d for d in range(2, _DIRECT + 1) if n % d == 0), default=1)
    if first == 1:
        return _convolved(b, x, rows, n, sign, work)
    second = n // first
    x = b.call("Transpose", b.reshape(x, (rows, first, second, 2)), perm=[0, 2, 1, 3])
    x = _transform(b, b.reshape(x, (rows * second, first, 2)), rows * second, first, sign, work)
    angle = sign * 2 * np.pi * np.outer(np.arange(second), np.arange(first)) / n
    x = _rotate(b, b.reshape(x, (rows, second, first, 2)), np.exp(1j * angle), work)
    x = b.reshape(b.call("Transpose", x, perm=[0, 2, 1, 3]), (rows * first, second, 2))
    x = b.reshape(_transform(b, x, rows * first, second, sign, work), (rows, first, second, 2))
    return b.reshape(b.call("Transpose", x, perm=[0, 2, 1, 3]), (rows, n, 2))


def _rotate(b: Body, x: str, factor: np.ndarray, work: str) -> str:
    """Complex product with constants, real and imaginary parts in the last axis."""
    swapped = b.call("Gather", x, b.constant([1, 0], "int64"), axis=-1)
    along = b.constant(np.stack([factor.real, factor.real], -1), work)
    across = b.constant(np.stack([-factor.imag, factor.imag], -1), work)
    return b.call("Add", b.call("Mul", x, along), b.call("Mul", swapped, across))


def _convolved(b: Body, x: str, rows: int, n: int, sign: int, work: str) -> str:
    """k m = (k^2 + m^2 - (k - m)^2) / 2: rotate, convolve with a chirp, rotate."""
    wide = 1 << (2 * n - 2).bit_length()
    squares = np.arange(n, dtype=np.int64) ** 2 % (2 * n)
    chirp = np.exp(sign * 1j * np.pi * squares / n)
    kernel = np.zeros(wide, complex)
    kernel[:n] = chirp.conj()
    kernel[wide - n + 1 :] = chirp.conj()[:0:-1]
    x = _fit(b, _rotate(b, x, chirp, work), n, wide)
    x = _rotate(b, _transform(b, x, rows, wide, -1, work), np.fft.fft(kernel) / wide, work)
    x = _fit(b, _transform(b, x, rows, wide, 1, work), wide, n)
    return _rotate(b, x, chirp, work)
