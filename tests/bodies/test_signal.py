"""Fourier transforms, windows and mel weights: values by their definitions, derivatives by differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

Make = Callable[..., Any]
RNG = np.random.default_rng(17)


def scalar(value: int) -> np.ndarray:
    return np.array(value, np.int64)


def transform(x: np.ndarray, length: int | None, axis: int, *, inverse: int = 0, onesided: int = 0) -> np.ndarray:
    """DFT of the standard by NumPy: a last axis of 1 (real) or 2 (real, imaginary) numbers."""
    z = x[..., 0] if x.shape[-1] == 1 else x[..., 0] + 1j * x[..., 1]
    axis = axis if axis >= 0 else axis + x.ndim
    if inverse and onesided:
        return np.asarray(np.fft.irfft(z, length, axis=axis)[..., None])
    y = (np.fft.ifft if inverse else np.fft.fft)(z, length, axis=axis)
    if onesided:
        y = np.take(y, range(y.shape[axis] // 2 + 1), axis)
    return np.stack([y.real, y.imag], -1)


DFTS: list[tuple[tuple[int, ...], int | None, int | None, dict[str, int]]] = [
    ((2, 9, 1), None, None, {}),
    ((2, 8, 2), None, None, {"inverse": 1}),
    ((1, 1, 2), None, None, {}),
    ((2, 9, 1), None, None, {"onesided": 1}),
    ((2, 10, 1), 6, None, {"onesided": 1}),
    ((2, 5, 2), 11, None, {}),
    ((3, 4, 5, 2), None, 0, {}),
    ((3, 4, 5, 1), 3, -3, {}),
    ((2, 5, 2), None, 1, {"inverse": 1, "onesided": 1}),
    ((2, 5, 2), 9, 1, {"inverse": 1, "onesided": 1}),
    ((2, 13, 2), None, None, {}),
]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("shape", "length", "axis", "how"), DFTS)
def test_dft(case: Make, shape: tuple[int, ...], length: int | None, axis: int | None, how: dict[str, int], dtype: str) -> None:
    x = RNG.standard_normal(shape)
    given = {"x": x.astype(dtype), "length": None if length is None else scalar(length)}
    given["axis"] = None if axis is None else scalar(axis)
    want = transform(x, length, -2 if axis is None else axis, **how)
    call = case("DFT", {n: a for n, a in given.items() if a is not None or n == "length"}, fixed=("length", "axis"), dynamic=True, **how)
    got = call.values()[0]
    assert (got.dtype, got.shape) == (dtype, want.shape)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12 if dtype == "float64" else 1e-5)
    if dtype == "float64":
        call.check_gradients("x")


def frames(x: np.ndarray, step: int, window: np.ndarray, onesided: bool) -> np.ndarray:
    """STFT of (batch, length, 1 or 2): the transform of each windowed frame."""
    z = x[..., 0] if x.shape[-1] == 1 else x[..., 0] + 1j * x[..., 1]
    size = len(window)
    starts = range(0, z.shape[1] - size + 1, step)
    y = np.fft.fft(np.stack([z[:, s : s + size] * window for s in starts], 1), axis=-1)
    y = y[..., : size // 2 + 1] if onesided else y
    return np.stack([y.real, y.imag], -1)


STFTS = [
    ((2, 21, 1), 4, 8, False, 1),
    ((1, 19, 1), 3, 7, True, 1),
    ((1, 13, 2), 5, 6, True, 0),
    ((2, 11, 1), 11, 11, True, 0),
    ((2, 16, 1), 16, 16, False, None),
]


@pytest.mark.parametrize(("shape", "step", "size", "windowed", "onesided"), STFTS)
def test_stft(case: Make, shape: tuple[int, ...], step: int, size: int, windowed: bool, onesided: int | None) -> None:
    x, window = RNG.standard_normal(shape), RNG.uniform(0.2, 1.0, size) if windowed else None
    given = {"x": x, "step": scalar(step), "window": window, "size": None if windowed else scalar(size)}
    how = {} if onesided is None else {"onesided": onesided}
    given = {n: a for n, a in given.items() if a is not None or n == "window"}
    call = case("STFT", given, fixed=("step", "size"), **how)
    want = frames(x, step, np.ones(size) if window is None else window, onesided != 0)
    got = call.values()[0]
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)
    call.check_gradients("x", *(["window"] if windowed else []))


WINDOWS = {
    "HannWindow": (0.5, 0.5, 0.0),
    "HammingWindow": (25 / 46, 21 / 46, 0.0),
    "BlackmanWindow": (0.42, 0.5, 0.08),
}
TYPES = [None, TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16]


@pytest.mark.parametrize("fed", [False, True])
@pytest.mark.parametrize("periodic", [0, 1])
@pytest.mark.parametrize("op_type", sorted(WINDOWS))
def test_windows(case: Make, op_type: str, periodic: int, fed: bool) -> None:
    a, b, c = WINDOWS[op_type]
    for size in (2, 9, 10):
        turn = 2 * np.pi * np.arange(size) / (size if periodic else size - 1)
        want = a - b * np.cos(turn) + c * np.cos(2 * turn)
        for kind in TYPES if size == 10 else TYPES[:1]:
            how = {} if kind is None else {"output_datatype": kind}
            got = case(op_type, {"size": scalar(size)}, fixed=() if fed else ("size",), periodic=periodic, **how).values()[0]
            assert got.dtype == {None: "float32", 1: "float32", 11: "float64", 10: "float16"}[kind]
            np.testing.assert_allclose(got, want, rtol=0, atol=2e-3 if kind == TensorProto.FLOAT16 else 1e-6)


MELS = [(8, 16, 8192, 0.0, 4096.0), (4, 64, 16000, 300.0, 7000.0), (20, 512, 22050, 0.0, 11025.0)]


@pytest.mark.parametrize("numbers", MELS)
def test_mel_weights(case: Make, numbers: tuple[Any, ...]) -> None:
    names = ("bins", "length", "rate", "low", "high")
    kinds = (np.int64, np.int64, np.int64, np.float32, np.float32)
    given = {n: np.array(v, k) for n, v, k in zip(names, numbers, kinds, strict=True)}
    for fixed in (names, ()):
        call = case("MelWeightMatrix", given, fixed=fixed)
        got, want = call.values()[0], call.reference()[0]
        assert (got.dtype, got.shape) == (np.float32, (numbers[1] // 2 + 1, numbers[0]))
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("op_type", "reverse", "exclusive"), [("CumSum", r, e) for r in (0, 1) for e in (0, 1)])
def test_running_sums(case: Make, op_type: str, reverse: int, exclusive: int) -> None:
    for axis in (0, -1):
        given = {"x": RNG.standard_normal((3, 4, 2)), "axis": scalar(axis)}
        call = case(op_type, given, fixed=("axis",), dynamic=True, reverse=reverse, exclusive=exclusive)
        np.testing.assert_allclose(call.values()[0], call.reference()[0], rtol=1e-12)
        call.check_gradients("x")
