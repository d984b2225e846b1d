"""Kernels that predictions use where no derivative is wanted: the same values, also where theirs has a peculiarity."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from polymodel.builder import Builder
from polymodel.registry import compile
from polymodel.spec import TensorSpec

BACKENDS = ("torch", "tensorflow", "mxnet")


def network(*, shown: bool) -> Any:
    """Convolution, normalization by stored statistics, rectifier, convolution; the rectified value is an output if shown."""
    rng = np.random.default_rng(0)
    b = Builder()
    with b.active():
        x = b.input("x", TensorSpec(("n", 3, 8, 8)))
        kernels = [b.parameter(n, rng.standard_normal((4, c, 3, 3), dtype=np.float32)) for n, c in (("k1", 3), ("k2", 4))]
        stored = [b.parameter(n, rng.uniform(0.5, 2, 4).astype(np.float32)) for n in ("scale", "bias", "mean", "variance")]
        h = b.op("Relu", b.op("BatchNormalization", b.op("Conv", x, kernels[0]), *stored))
        b.output("y", b.op("Conv", h, kernels[1]))
        if shown:
            b.output("h", h)
    return b.finish()


@pytest.mark.parametrize("backend", BACKENDS)
def test_prediction_and_gradient_agree_with_the_other_path(backend: str) -> None:
    """The loss through `gradients` takes the composed kernels; its derivative by the statistics must not vanish."""
    x = np.random.default_rng(1).standard_normal((2, 3, 8, 8), dtype=np.float32)
    program = compile(network(shown=False), backend, "cpu")
    y = program.predict({"x": x})["y"]
    reference = compile(network(shown=True), "torch", "cpu").predict({"x": x})["y"]
    np.testing.assert_allclose(y, reference, rtol=1e-4, atol=1e-4)
    found = program.gradients({"x": x}, {"y": np.ones_like(y)}, ["mean", "variance"])
    assert all(np.abs(g).max() > 1e-3 for g in found.values())


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_rectified_value_that_is_shown_has_no_negative_zero(backend: str) -> None:
    x = np.random.default_rng(1).standard_normal((2, 3, 8, 8), dtype=np.float32)
    h = compile(network(shown=True), backend, "cpu").predict({"x": x})["h"]
    assert (h == 0).any()
    assert not np.signbit(h).any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_rectifier_in_front_of_a_convolution_keeps_nan(backend: str) -> None:
    x = np.ones((1, 3, 8, 8), np.float32)
    x[0, :, 4, 4] = np.nan
    y = compile(network(shown=False), backend, "cpu").predict({"x": x})["y"]
    assert np.isnan(y).any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_stored_statistics_may_be_computed(backend: str) -> None:
    """MXNet's kernel takes variables for them only."""
    b = Builder()
    with b.active():
        x, m, one = b.input("x", TensorSpec((2, 4, 3, 3))), b.input("m", TensorSpec((4,))), b.constant(np.ones(4, np.float32))
        b.output("y", b.op("BatchNormalization", x, one, one, b.op("Abs", m), b.op("Exp", m)))
    m_value = np.arange(4, dtype=np.float32)
    y = compile(b.finish(), backend, "cpu").predict({"x": np.ones((2, 4, 3, 3), np.float32), "m": m_value})["y"]
    np.testing.assert_allclose(y[0, :, 0, 0], (1 - m_value) / np.sqrt(np.exp(m_value) + 1e-5) + 1, rtol=1e-5)
