"""Calls for NaN, infinities, zeros with a sign, subnormal and largest numbers, and what NumPy says of them.

The meaning is that of NumPy in float64 on the given numbers, rounded once. Signs of zeros are judged where IEEE 754 or C (annex F)
says them, and where numbers are only moved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

_INF, _NAN, _BIG, _SMALL = np.inf, np.nan, float(np.finfo(np.float32).max), 2.0**-126

NUMBERS: dict[str, tuple[float, ...]] = {
    "nan": (_NAN, 0.5, _NAN, 2.0, -0.5, _NAN, 1.0, -3.0),
    "infinities": (_INF, -_INF, 0.5, 2.0, -_INF, -0.5, _INF, 1.0),
    "zeros": (0.0, -0.0, 1.0, -0.0, 0.5, 0.0, -1.0, -0.0),
    "subnormals": (1e-40, -1e-40, 2.0**-149, -(2.0**-149), _SMALL, -_SMALL, 0.5, 3e-39),
    "largest": (_BIG, -_BIG, _BIG / 2, -_BIG / 2, 0.5, -0.5, _BIG, 3.0),
}
"""Eight numbers of each kind. They have one shape, so that a program is compiled once for all of them."""

Meaning = Callable[..., np.ndarray]


@final
@dataclass(frozen=True)
class Special:
    """One operator on special numbers.

    Attributes:
        op: operator of the standard.
        meaning: of NumPy, on float64 arrays.
        zero_signs: whether the sign of a zero result is said by a standard.
        attributes: by name.
        more: further inputs, constants of the graph.
        without: kinds of numbers about which nothing is said.
    """

    op: str
    meaning: Meaning
    zero_signs: bool = False
    attributes: Mapping[str, Any] = field(default_factory=dict)
    more: Sequence[np.ndarray] = ()
    without: frozenset[str] = frozenset()


def _f(x: float) -> np.ndarray:
    return np.array(x, np.float32)


UNARY: tuple[Special, ...] = (
    Special("Abs", np.abs, True),
    Special("Neg", np.negative, True),
    Special("Sqrt", np.sqrt, True),
    Special("Reciprocal", lambda x: 1.0 / x, True),
    Special("Exp", np.exp),
    Special("Log", np.log),
    Special("Floor", np.floor, True),
    Special("Ceil", np.ceil, True),
    Special("Round", np.rint, True),
    Special("Sign", np.sign),
    Special("Relu", lambda x: np.maximum(x, 0.0)),
    Special("LeakyRelu", lambda x: np.where(x < 0, 0.25 * x, x), attributes={"alpha": 0.25}),
    Special("Clip", lambda x: np.clip(x, -1.0, 1.0), more=(_f(-1.0), _f(1.0))),
    Special("Sin", np.sin, True, without=frozenset({"largest"})),
    Special("Cos", np.cos, without=frozenset({"largest"})),
    Special("Tanh", np.tanh, True),
    Special("Atan", np.arctan, True),
    Special("Asinh", np.arcsinh, True),
    Special("Sigmoid", lambda x: 1.0 / (1.0 + np.exp(-x)), without=frozenset({"largest"})),
    Special("Softplus", lambda x: np.logaddexp(0.0, x), without=frozenset({"largest"})),
    Special("Erf", np.vectorize(math.erf, otypes=[np.float64]), True),
    Special("IsNaN", np.isnan),
    Special("IsInf", np.isinf),
    Special("Identity", lambda x: x, True),
    Special("Transpose", np.transpose, True),
    Special("Concat", lambda x: x, True, {"axis": 0}),
    Special("Tile", lambda x: np.tile(x, (2, 1)), True, more=(np.array([2, 1]),)),
    Special("Pad", lambda x: np.pad(x, ((0, 0), (1, 0))), True, more=(np.array([0, 1, 0, 0]),)),
    Special("Gather", lambda x: x[[1, 0, 1]], True, {"axis": 0}, (np.array([1, 0, 1]),)),
    Special("ReduceSum", lambda x: x.sum(1), attributes={"keepdims": 0}, more=(np.array([1]),), without=frozenset({"subnormals"})),
    Special("ReduceMax", lambda x: x.max(1), attributes={"keepdims": 0}, more=(np.array([1]),)),
    Special("ReduceMin", lambda x: x.min(1), attributes={"keepdims": 0}, more=(np.array([1]),)),
    Special(
        "ReduceMean", lambda x: x.mean(1), attributes={"keepdims": 0}, more=(np.array([1]),),
        without=frozenset({"subnormals", "largest"}),
    ),
    Special("Softmax", lambda x: _softmax(x), without=frozenset({"largest"})),
    Special("CumSum", lambda x: np.cumsum(x, 1), more=(np.array(1),), without=frozenset({"subnormals", "zeros"})),
)
"""Operators on one (2, 4) array of special numbers."""

BINARY: tuple[Special, ...] = (
    Special("Add", np.add, True),
    Special("Sub", np.subtract, True),
    Special("Mul", np.multiply, True),
    Special("Div", np.divide, True),
    Special("Pow", np.power),
    Special("Max", np.maximum),
    Special("Min", np.minimum),
    Special("Mod", np.fmod, attributes={"fmod": 1}),
    Special("Equal", np.equal),
    Special("Less", np.less),
    Special("LessOrEqual", np.less_equal),
    Special("Greater", np.greater),
    Special("GreaterOrEqual", np.greater_equal),
)
"""Operators on every pair of special numbers of a kind, (8, 1) with (1, 8)."""

def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(1, keepdims=True))
    return np.asarray(e / e.sum(1, keepdims=True))


def wrapped(value: Any, dtype: str) -> np.ndarray:
    """Whole numbers of any size in a fixed-point type, in two's complement."""
    bits = np.iinfo(dtype).bits
    cut = [int(v) % (1 << bits) for v in np.asarray(value, object).reshape(-1)]
    low = [v - (1 << bits) if np.dtype(dtype).kind == "i" and v >= 1 << (bits - 1) else v for v in cut]
    return np.array(low, dtype).reshape(np.shape(value))
