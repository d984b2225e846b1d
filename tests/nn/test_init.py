"""Initial values: their bounds and moments are the documented ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from polymodel import nn
from polymodel.errors import ShapeError
from polymodel.nn import init

SHAPE = (64, 32, 3, 3)


def draw(initializer: init.Initializer, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return initializer(np.random.default_rng(0), shape)


@pytest.mark.parametrize(
    ("initializer", "deviation", "bound"),
    [
        (init.uniform(-2, 2), 2 / math.sqrt(3), 2),
        (init.normal(0.3), 0.3, None),
        (init.fan_in_uniform(), 1 / math.sqrt(3 * 288), 1 / math.sqrt(288)),
        (init.kaiming_normal(), math.sqrt(2 / 288), None),
        (init.kaiming_normal("fan_out", 1.0), math.sqrt(1 / 576), None),
        (init.xavier_uniform(), math.sqrt(2 / (288 + 576)), math.sqrt(6 / (288 + 576))),
    ],
)
def test_moments(initializer: init.Initializer, deviation: float, bound: float | None) -> None:
    values = draw(initializer)
    assert values.shape == SHAPE
    assert abs(values.mean()) < 4 * deviation / math.sqrt(values.size)
    assert values.std() == pytest.approx(deviation, rel=0.02)
    if bound is not None:
        assert np.abs(values).max() <= bound
        assert np.abs(values).max() > 0.999 * bound


def test_constants() -> None:
    assert (draw(init.zeros) == 0).all()
    assert (draw(init.ones) == 1).all()
    assert (draw(init.constant(0.25)) == 0.25).all()


def test_fans_need_two_axes() -> None:
    with pytest.raises(ShapeError, match=r"received shape \(3,\)"):
        init.fans((3,))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (nn.Linear(300, 200), torch.nn.Linear(300, 200)),
        (nn.Conv2d(20, 30, 5), torch.nn.Conv2d(20, 30, 5)),
        (nn.Embedding(500, 100), torch.nn.Embedding(500, 100)),
        (nn.LayerNorm(50), torch.nn.LayerNorm(50)),
        (nn.MultiheadAttention(128, 4), torch.nn.MultiheadAttention(128, 4)),
        (nn.TransformerEncoderLayer(128, 4, 256), torch.nn.TransformerEncoderLayer(128, 4, 256)),
    ],
    ids=lambda m: type(m).__name__,
)
def test_layers_start_as_torch_starts_them(ours: nn.Module, theirs: torch.nn.Module) -> None:
    """Same names, same mean and deviation of every parameter, within six times the sampling error of both."""
    native = {n: p.detach().numpy() for n, p in theirs.named_parameters()}
    start = {n: p.initial(0, n) for n, p in ours.named_parameters()}
    assert set(start) == set(native)
    for name, value in start.items():
        assert value.shape == native[name].shape
        deviation, error = float(native[name].std()), 6 * math.sqrt(2 / value.size)
        assert value.std() == pytest.approx(deviation, rel=error), name
        assert value.mean() == pytest.approx(float(native[name].mean()), abs=error * deviation), name
