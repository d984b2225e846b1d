"""Calls that work element by element, with broadcasting."""

from __future__ import annotations

import numpy as np

from polymodel.tensor import Tensor
from polymodel_conformance.random_graphs.sketch import Sketch

UNARY = (
    "Neg", "Abs", "Relu", "Sigmoid", "Tanh", "Sin", "Cos", "Erf", "Softplus", "Softsign", "Mish", "HardSwish", "Floor",
    "Ceil", "Round", "Sign", "Atan", "Asinh", "Identity",
)
BOUNDED = ("Exp", "Sinh", "Cosh", "Tan", "Asin", "Acos", "Atanh")
POSITIVE = ("Log", "Sqrt", "Reciprocal")
WITH_NUMBERS = (
    ("LeakyRelu", ("alpha",)), ("Elu", ("alpha",)), ("Celu", ("alpha",)), ("Selu", ("alpha", "gamma")),
    ("ThresholdedRelu", ("alpha",)), ("HardSigmoid", ("alpha", "beta")), ("Shrink", ("lambd", "bias")), ("Swish", ("alpha",)),
)
INTEGERS = ("int64", "int32")


def unary(s: Sketch) -> Tensor:
    return s.op(s.c.of(UNARY), s.take())


def bounded(s: Sketch) -> Tensor:
    inner = s.b.op("Mul", s.b.op("Tanh", s.take()), 0.9)
    return s.op(s.c.of(BOUNDED), inner)


def above_zero(s: Sketch, x: Tensor) -> Tensor:
    """A positive value made of any."""
    return s.b.op("Add", s.b.op("Abs", x), 0.5)


def positive(s: Sketch) -> Tensor:
    return s.op(s.c.of(POSITIVE), above_zero(s, s.take()))


def with_numbers(s: Sketch) -> Tensor:
    name, words = s.c.of(WITH_NUMBERS)
    given = {w: s.c.of((0.5, 1.0, 0.25, 1.5)) for w in words if s.c.chance(60)}
    if name == "Swish":
        return s.op("HardSwish", s.take())
    return s.op(name, s.take(), **given)


def gelu(s: Sketch) -> Tensor:
    return s.op("Gelu", s.take(), approximate=s.c.of(("none", "tanh")))


def beside(s: Sketch, x: Tensor, dtype: str | None = None) -> Tensor:
    """A value that broadcasts with another: some of its axes of size 1, some in front left out, or one more."""
    sizes = list(s.sizes(x))
    kind = s.c.below(5)
    there = [t for t in s.values if t.dtype == (dtype or x.dtype) and s.sizes(t) == tuple(sizes) and t is not x]
    if there and kind == 0:
        return s.c.of(there)
    if kind == 1:
        sizes = sizes[s.c.below(len(sizes) + 1) :]
    elif kind == 2:
        sizes = [1 if s.c.below(2) else n for n in sizes]
    elif kind == 3 and len(sizes) < 4:
        sizes = [s.size(), *sizes]
    elif kind == 4:
        sizes = [s.size() if n == 1 else n for n in sizes]
    return s.leaf(sizes, dtype or x.dtype)


def ordered(s: Sketch, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return (y, x) if s.c.below(2) else (x, y)


def binary(s: Sketch) -> Tensor:
    x = s.take(dtype=(s.real, s.real, *INTEGERS))
    x, y = ordered(s, x, beside(s, x))
    return s.op(s.c.of(("Add", "Sub", "Mul")), x, y)


def quotient(s: Sketch) -> Tensor:
    x = s.take()
    return s.op("Div", x, above_zero(s, beside(s, x)))


def power(s: Sketch) -> Tensor:
    x = s.take()
    if s.c.below(2):
        return s.op("Pow", x, np.asarray(s.c.of((2.0, 3.0, 0.0, 1.0)), x.dtype))
    return s.op("Pow", above_zero(s, x), s.op("Tanh", beside(s, x)))


def integer_division(s: Sketch) -> Tensor:
    x = s.take(dtype=INTEGERS)
    y = s.leaf(s.sizes(x), array=np.asarray(1 + np.abs(s.numbers(s.sizes(x), x.dtype)), x.dtype))
    return s.op(s.c.of(("Div", "Mod")), x, y)


def modulus(s: Sketch) -> Tensor:
    x = s.take()
    return s.op("Mod", x, above_zero(s, beside(s, x)), fmod=1)


def several(s: Sketch) -> Tensor:
    x = s.take()
    return s.op(s.c.of(("Sum", "Mean", "Max", "Min")), x, *(beside(s, x) for _ in range(s.c.below(3))))


def compared(s: Sketch) -> Tensor:
    x = s.take(dtype=(s.real, *INTEGERS))
    return s.op(s.c.of(("Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Equal")), *ordered(s, x, beside(s, x)))


def logical(s: Sketch) -> Tensor:
    x = s.take(dtype="bool")
    if s.c.below(3) == 0:
        return s.op("Not", x)
    return s.op(s.c.of(("And", "Or", "Xor")), *ordered(s, x, beside(s, x)))


def where(s: Sketch) -> Tensor:
    x = s.take(dtype=(s.real, s.real, "int64"))
    condition = beside(s, x, "bool")
    return s.op("Where", condition, *ordered(s, x, beside(s, x)))


def clip(s: Sketch) -> Tensor:
    x = s.take(dtype=(s.real, s.real, "int64"))
    low = np.asarray(s.c.of((-1, 0)), x.dtype) if s.c.below(3) else None
    high = np.asarray(s.c.of((1, 2)), x.dtype) if s.c.below(3) else None
    return s.op("Clip", x, low, high)


def prelu(s: Sketch) -> Tensor:
    x = s.take()
    sizes = list(s.sizes(x))[s.c.below(x.rank + 1) :]
    return s.op("PRelu", x, s.leaf([n if s.c.below(2) else 1 for n in sizes]))


def cast(s: Sketch) -> Tensor:
    x = s.take(dtype=(s.real, "bool", *INTEGERS))
    to = s.c.of((1, 7, 6, 9, 11))
    return s.op("Cast", x, to=to)


def integer_unary(s: Sketch) -> Tensor:
    return s.op(s.c.of(("Neg", "Abs", "Sign")), s.take(dtype=INTEGERS))


ROWS = (
    (12, unary), (4, bounded), (3, positive), (5, with_numbers), (2, gelu), (14, binary), (3, quotient), (3, power),
    (1, integer_division), (1, modulus), (4, several), (3, compared), (2, logical), (5, where), (3, clip), (2, prelu),
    (3, cast), (1, integer_unary),
)
