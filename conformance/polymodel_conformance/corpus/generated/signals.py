"""Fourier transforms; windows and mel weights are constants, which the standard's own tests judge."""

from __future__ import annotations

import numpy as np

from polymodel_conformance.corpus.generated.row import Row, row

_L = np.int64


def _n(value: int) -> np.ndarray:
    return np.array(value, _L)


ROWS: list[Row] = [
    row("dft_real", "DFT", (2, 9, 1)),
    row("dft_complex", "DFT", (2, 7, 2)),
    row("dft_inverse", "DFT", (3, 8, 2), inverse=1),
    row("dft_onesided", "DFT", (2, 9, 1), onesided=1),
    row("dft_onesided_even", "DFT", (2, 10, 1), onesided=1),
    row("dft_real_inverse", "DFT", (2, 5, 2), onesided=1, inverse=1),
    row("dft_real_inverse_odd", "DFT", (2, 5, 2), _n(9), onesided=1, inverse=1),
    row("dft_axis", "DFT", (3, 4, 5, 2), None, _n(0)),
    row("dft_negative_axis", "DFT", (3, 4, 5, 1), None, _n(-3)),
    row("dft_longer", "DFT", (2, 5, 2), _n(8)),
    row("dft_shorter", "DFT", (2, 9, 1), _n(6), onesided=1),
    row("dft_one", "DFT", (3, 1, 2)),
    row("stft", "STFT", (2, 21, 1), _n(4), None, _n(8)),
    row("stft_windowed", "STFT", (1, 19, 1), _n(3), (7,), onesided=1),
    row("stft_complex", "STFT", (1, 13, 2), _n(5), (6,), onesided=0),
    row("stft_two_axes", "STFT", (2, 15), _n(4), (6,)),
    row("stft_whole", "STFT", (2, 11, 1), _n(11), (11,)),
]
