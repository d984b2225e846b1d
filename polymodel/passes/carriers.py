"""Element types that a framework lacks are carried in a wider one that it has.

A value of a carried type is held exactly: a 4-bit integer in an int8, a float8 in a float32, a uint32 in an int64. Only
uint64 has no wider type: an int64 holds its 64 bits. What is done to carried values is the work of
passes/carry_types.py; this file says which type carries which, and converts arrays on the way in and out.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from polymodel.spec import array_dtype, numpy_dtype

_CARRIERS: dict[str, tuple[str, ...]] = {
    "int2": ("int8", "int32", "int64"),
    "int4": ("int8", "int32", "int64"),
    "uint2": ("uint8", "int32", "int64"),
    "uint4": ("uint8", "int32", "int64"),
    "int8": ("int32", "int64"),
    "uint8": ("int32", "int64"),
    "int16": ("int32", "int64"),
    "uint16": ("int32", "int64"),
    "uint32": ("int64",),
    "uint64": ("int64",),
    "float16": ("float32",),
    "bfloat16": ("float32",),
    "float4e2m1": ("float32",),
    "float6e2m3": ("float32",),
    "float6e3m2": ("float32",),
    "float8e4m3fn": ("float32",),
    "float8e4m3fnuz": ("float32",),
    "float8e5m2": ("float32",),
    "float8e5m2fnuz": ("float32",),
    "float8e8m0": ("float64", "float32"),  # 2^-127 is subnormal in float32, and TensorFlow flushes those to zero
}


def carrier(dtype: str, held: Collection[str]) -> str:
    """The type in which programs hold values of an element type: itself, its carrier, or itself when nothing carries it.

    Args:
        dtype: declared element type.
        held: element types of the framework.
    """
    if dtype in held:
        return dtype
    return next((c for c in _CARRIERS.get(dtype, ()) if c in held), dtype)


def is_carried(dtype: str, held: Collection[str]) -> bool:
    """Whether another type carries it."""
    return carrier(dtype, held) != dtype


def encode(array: np.ndarray, held: Collection[str]) -> np.ndarray:
    """An array in the type that carries its own; the array itself where the framework has its type."""
    declared = array_dtype(array)
    wanted = carrier(declared, held)
    if wanted == declared:
        return array
    if declared == "uint64":
        return np.ascontiguousarray(array).view(np.int64).reshape(array.shape)
    return array.astype(numpy_dtype(wanted))


def decode(array: np.ndarray, dtype: str) -> np.ndarray:
    """A carried array in its declared type."""
    if array_dtype(array) == dtype:
        return array
    if dtype == "uint64":
        return np.ascontiguousarray(array).view(np.uint64).reshape(array.shape)
    with np.errstate(all="ignore"):  # a NaN or an infinity of the carrier is one of the declared type
        return array.astype(numpy_dtype(dtype))


def encode_all(arrays: Mapping[str, np.ndarray], held: Collection[str]) -> dict[str, np.ndarray]:
    """Arrays by name, each in the type that carries its own."""
    return {n: encode(np.asarray(a), held) for n, a in arrays.items()}


@final
@dataclass(frozen=True)
class Integer:
    """A fixed-point type.

    Attributes:
        bits: width.
        signed: whether it is in two's complement.
    """

    bits: int
    signed: bool

    @property
    def low(self) -> int:
        """Smallest value."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """Largest value."""
        return (1 << (self.bits - self.signed)) - 1


@final
@dataclass(frozen=True)
class Float:
    """A floating-point type.

    Attributes:
        mantissa: explicit bits of the fraction.
        exponent: bits of the exponent.
        least: exponent of the smallest normal number.
        largest: largest finite number.
        infinite: whether it has infinities.
        has_nan: whether it has NaN.
        negative_zero: whether it has -0.
    """

    mantissa: int
    exponent: int
    least: int
    largest: float
    infinite: bool = False
    has_nan: bool = True
    negative_zero: bool = True

    @property
    def bits(self) -> int:
        """Width."""
        return 1 + self.exponent + self.mantissa

    @property
    def most(self) -> int:
        """Exponent of the largest finite number."""
        return math.frexp(self.largest)[1] - 1


INTEGERS = {f"{u}int{n}": Integer(n, not u) for u in ("", "u") for n in (2, 4, 8, 16, 32, 64)}

FLOATS = {
    "float64": Float(52, 11, -1022, float(np.finfo(np.float64).max), infinite=True),
    "float32": Float(23, 8, -126, float(np.finfo(np.float32).max), infinite=True),
    "float16": Float(10, 5, -14, 65504.0, infinite=True),
    "bfloat16": Float(7, 8, -126, 2.0**128 - 2.0**120, infinite=True),
    "float8e4m3fn": Float(3, 4, -6, 448.0),
    "float8e4m3fnuz": Float(3, 4, -7, 240.0, negative_zero=False),
    "float8e5m2": Float(2, 5, -14, 57344.0, infinite=True),
    "float8e5m2fnuz": Float(2, 5, -15, 57344.0, negative_zero=False),
    "float6e2m3": Float(3, 2, 0, 7.5, has_nan=False),
    "float6e3m2": Float(2, 3, -2, 28.0, has_nan=False),
    "float4e2m1": Float(1, 2, 0, 6.0, has_nan=False),
}
"""float8e8m0, whose values are powers of two without a sign, has rules of its own."""


def width(dtype: str) -> int:
    """Bits of one element."""
    if dtype in INTEGERS:
        return INTEGERS[dtype].bits
    if dtype in FLOATS:
        return FLOATS[dtype].bits
    return 8  # bool and float8e8m0
