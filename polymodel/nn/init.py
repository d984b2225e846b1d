"""How parameters start: a function from a random generator and a shape to an array.

Every parameter draws from a stream of its own, named by the seed and the parameter's path, so its initial value does
not depend on which other parameters exist or on the backend. Values are drawn in float64 and rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from polymodel.errors import ShapeError

Initializer: TypeAlias = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
"""``init(generator, shape)`` returns a float64 array of that shape."""


def constant(value: float) -> Initializer:
    """Every element is `value`.

    Example:
        >>> constant(2.0)(np.random.default_rng(0), (2,))
        array([2., 2.])
    """
    return lambda _, shape: np.full(shape, value, np.float64)


zeros: Initializer = constant(0.0)
ones: Initializer = constant(1.0)


def uniform(low: float, high: float) -> Initializer:
    """Uniform in [low, high)."""
    return lambda generator, shape: generator.uniform(low, high, shape)


def normal(std: float = 1.0, mean: float = 0.0) -> Initializer:
    """Normal with the given standard deviation and mean."""
    return lambda generator, shape: generator.normal(mean, std, shape)


def fan_in_uniform(fan_in: int | None = None) -> Initializer:
    """Uniform in +-1/sqrt(fan_in): PyTorch's default for weights and biases of Linear and Conv.

    PyTorch writes the weight's as kaiming_uniform(a=sqrt(5)), whose bound gain*sqrt(3/fan_in), with
    gain = sqrt(2/(1+a^2)), is the same number (torch.nn.init.kaiming_uniform_, torch.nn.Linear).

    Args:
        fan_in: number of inputs of an output; computed from the shape (out, in, *kernel) when None.
    """

    def init(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        bound = 1 / math.sqrt(fan_in or fans(shape)[0])
        return generator.uniform(-bound, bound, shape)

    return init


def kaiming_normal(fan_mode: str = "fan_in", gain: float = math.sqrt(2)) -> Initializer:
    """Normal with standard deviation gain/sqrt(fan) (He et al., "Delving deep into rectifiers", 2015, eq. 10).

    Args:
        fan_mode: "fan_in" or "fan_out".
        gain: sqrt(2) for ReLU.
    """

    def init(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        fan = fans(shape)[("fan_in", "fan_out").index(fan_mode)]
        return generator.normal(0.0, gain / math.sqrt(fan), shape)

    return init


def xavier_uniform(gain: float = 1.0) -> Initializer:
    """Uniform in +-gain*sqrt(6/(fan_in+fan_out)) (Glorot and Bengio, AISTATS 2010, eq. 16)."""

    def init(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        bound = gain * math.sqrt(6 / sum(fans(shape)))
        return generator.uniform(-bound, bound, shape)

    return init


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight of shape (out, in, *kernel).

    Example:
        >>> fans((16, 3, 5, 5))
        (75, 400)
    """
    if len(shape) < 2:
        raise ShapeError(f"fan_in needs a weight of two axes or more (out, in, *kernel), received shape {tuple(shape)}")
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window
