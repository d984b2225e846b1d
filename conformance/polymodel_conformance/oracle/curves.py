"""Elementary functions of the oracle: value, derivative, and how many ulps a float32 kernel may err."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from polymodel_conformance.oracle.tape import Array

Curve: TypeAlias = tuple[Callable[[Array], Array], Callable[[Array, Array], Array], float]

_erf = np.frompyfunc(math.erf, 1, 1)


def erf(x: Array) -> Array:
    """The error function in float64."""
    return np.asarray(_erf(x), np.float64)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) without overflow."""
    e = np.exp(-np.abs(x))
    y: Array = np.where(x >= 0, 1.0, e) / (1.0 + e)
    return y


def softplus(x: Array) -> Array:
    """log(1 + exp(x)) without overflow."""
    y: Array = np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))
    return y


def _gaussian(x: Array) -> Array:
    y: Array = 2.0 / math.sqrt(math.pi) * np.exp(-x * x)
    return y


CURVES: dict[str, Curve] = {
    "Exp": (np.exp, lambda x, y: y, 4),
    "Log": (np.log, lambda x, y: 1 / x, 4),
    "Sqrt": (np.sqrt, lambda x, y: 0.5 / y, 1),
    "Reciprocal": (lambda x: 1 / x, lambda x, y: -y * y, 1),
    "Erf": (erf, lambda x, y: _gaussian(x), 4),
    "Sin": (np.sin, lambda x, y: np.cos(x), 4),
    "Cos": (np.cos, lambda x, y: -np.sin(x), 4),
    "Tan": (np.tan, lambda x, y: 1 + y * y, 4),
    "Asin": (np.arcsin, lambda x, y: 1 / np.sqrt(1 - x * x), 4),
    "Acos": (np.arccos, lambda x, y: -1 / np.sqrt(1 - x * x), 4),
    "Atan": (np.arctan, lambda x, y: 1 / (1 + x * x), 4),
    "Sinh": (np.sinh, lambda x, y: np.cosh(x), 4),
    "Cosh": (np.cosh, lambda x, y: np.sinh(x), 4),
    "Tanh": (np.tanh, lambda x, y: 1 - y * y, 4),
    "Asinh": (np.arcsinh, lambda x, y: 1 / np.sqrt(x * x + 1), 4),
    "Acosh": (np.arccosh, lambda x, y: 1 / np.sqrt(x * x - 1), 4),
    "Atanh": (np.arctanh, lambda x, y: 1 / (1 - x * x), 4),
    "Sigmoid": (sigmoid, lambda x, y: y * (1 - y), 4),
    "Softplus": (softplus, lambda x, y: sigmoid(x), 4),
}
"""By ONNX operator name. The derivative of tanh is written 1 - y^2: near saturation its rounding is absolute."""
