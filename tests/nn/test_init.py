"""Initial values: their bounds and moments are the documented ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from polymodel import nn
from polymodel.errors import ConfigError, ShapeError
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
        (init.kaiming_uniform(), math.sqrt(2 / 288), math.sqrt(6 / 288)),
        (init.kaiming_uniform("fan_out"), math.sqrt(2 / 576), math.sqrt(6 / 576)),
        (init.msra_prelu(), math.sqrt(2 / ((1 + 0.25**2) * 432)), None),
        (init.msra_prelu("in", 0.0), math.sqrt(2 / 288), None),
        (init.xavier_normal(2.0), 2 * math.sqrt(2 / (288 + 576)), None),
        (init.lecun_normal(), math.sqrt(1 / 288), None),
        (init.lecun_uniform(), math.sqrt(1 / 288), math.sqrt(3 / 288)),
        (init.truncated_normal(0.5), 0.5 * 0.87962566, 1.0),
        (init.truncated_normal(1.0, 0.0, -0.5, 0.5), 0.28373, 0.5),
        (init.variance_scaling(2.0), math.sqrt(2 / 288), 2 * math.sqrt(2 / 288) / 0.87962566),
        (init.variance_scaling(1.0, "fan_avg", "uniform"), math.sqrt(1 / 432), math.sqrt(3 / 432)),
        (init.variance_scaling(1.0, "fan_out", "untruncated_normal"), math.sqrt(1 / 576), None),
        (init.orthogonal(3.0), 3 / math.sqrt(288), None),
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


@pytest.mark.parametrize("shape", [(5, 5), (3, 8), (8, 3), (4, 2, 3, 3), (20, 1, 3, 3)])
def test_orthogonal_weights(shape: tuple[int, ...]) -> None:
    flat = draw(init.orthogonal(2.0), shape).reshape(shape[0], -1)
    small = flat @ flat.T if flat.shape[0] <= flat.shape[1] else flat.T @ flat
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 5), (3, 2, 3), (4, 4, 3, 3)])
def test_identity_is_that_of_torch(shape: tuple[int, ...]) -> None:
    theirs = torch.nn.init.eye_(torch.empty(shape)) if len(shape) == 2 else torch.nn.init.dirac_(torch.empty(shape))
    np.testing.assert_array_equal(draw(init.identity(), shape), theirs.numpy())


def test_words() -> None:
    for name in init.INITIALIZERS:
        options = {"value": 1.0} if name == "constant" else {"low": -1.0, "high": 1.0} if name == "uniform" else {}
        assert draw(init.get({"name": name, **options}), (4, 4)).shape == (4, 4)
    assert init.get(init.zeros) is init.zeros
    for spec, words in (
        ("xavier", "initializer is one of .*xavier_normal"),
        ({"name": "orthogonal", "std": 1}, "orthogonal.*std"),
    ):
        with pytest.raises(ConfigError, match=words):
            init.get(spec)
    with pytest.raises(ConfigError, match="fan_mode is one of fan_in, fan_out, received 'fan'"):
        draw(init.kaiming_normal("fan"))


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
