"""The tolerance model: when is a tensor as close as its number format allows?

Three rules, by what is compared:

- exact: the same bits (moves, integers, comparisons, random streams).
- ulp: the distance to the rounded float64 value in units in the last place (basic arithmetic).
- rho: the error divided by the computed rounding floor sigma (everything that accumulates).

rho is the larger of two numbers, so that neither a small error everywhere nor a large one in one element hides:
rms(error) / sigma, and max |error_i| / s_i divided by 1 + sqrt(2 ln n), the size of the largest of n Gaussian errors. s_i
joins the floor of the element with that of the tensor.

A score up to the limit passes, up to ten times the limit it is suspicious, above it fails. Shape and dtype are compared
exactly; NaN and infinities must be where they should be, of the right sign; nothing is replaced before comparing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import ml_dtypes
import numpy as np

from polymodel.spec import numpy_dtype
from polymodel_conformance.tolerance.verdict import Comparison, Verdict

SUSPICIOUS = 10.0


@final
@dataclass(frozen=True)
class Expected:
    """What a tensor should be.

    Attributes:
        value: float64 for floating-point tensors, else the exact values.
        dtype: element type that the tensor must have.
        rule: "exact", "ulp" or "rho".
        spread: for rho, the rounding floor of each element (rms), of the shape of value.
        doubt: how far the floor may be underestimated because few runs measured it, >= 1.
    """

    value: np.ndarray
    dtype: str
    rule: str
    spread: np.ndarray | None = None
    doubt: float = 1.0


def ulp_distance(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """Number of representable values between two arrays of one floating-point dtype, float64; inf where one is NaN."""
    distance: np.ndarray = _steps(got, want).astype(np.float64)
    nan = np.isnan(got) | np.isnan(want)
    return np.where(nan, np.where(np.isnan(got) & np.isnan(want), 0.0, np.inf), distance)


def _steps(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """`ulp_distance` of numbers, as unsigned integers: the bits without the sign count from zero."""
    bits: Any = {2: np.uint16, 4: np.uint32, 8: np.uint64}[got.dtype.itemsize]
    top = bits(1 << (8 * got.dtype.itemsize - 1))
    a, b = np.ascontiguousarray(got).view(bits), np.ascontiguousarray(want).view(bits)
    apart = (a ^ b) >= top  # on both sides of zero
    a, b = a & ~top, b & ~top
    distance: np.ndarray = np.maximum(a, b)
    distance -= np.minimum(a, b)
    if apart.any():
        distance[apart] = a[apart] + b[apart]
    return distance


def compare(name: str, got: object, expected: Expected, limit: float) -> Comparison:
    """Judge one tensor.

    Args:
        name: for the report.
        got: what a backend returned; anything but an array fails.
        expected: what it should be.
        limit: score up to which it passes; ignored by "exact".
    """
    if not isinstance(got, np.ndarray):
        return _fail(name, expected, limit, f"received {type(got).__name__}, expected an array")
    dtype = numpy_dtype(expected.dtype)
    if got.dtype != dtype:
        return _fail(name, expected, limit, f"dtype is {got.dtype}, expected {dtype}")
    if got.shape != expected.value.shape:
        return _fail(name, expected, limit, f"shape is {list(got.shape)}, expected {list(expected.value.shape)}")
    if got.size == 0:
        return Comparison(name, Verdict.PASS, expected.rule, limit=limit)
    if dtype.kind not in "fV" and dtype.name != "bfloat16":
        return _exact(name, got, expected.value.astype(dtype), expected.rule)
    with np.errstate(over="ignore"):
        rounded = expected.value.astype(dtype)
    problem = _special(got, rounded)
    if problem:
        return _fail(name, expected, limit, problem)
    if expected.rule == "exact":
        return _exact(name, got, rounded, "exact")
    with np.errstate(invalid="ignore"):  # of infinities, whose places are right: they are left out
        return _close(name, got, rounded, expected, limit)


def _special(got: np.ndarray, want: np.ndarray) -> str:
    """Where NaN and infinities differ, in words; empty when they agree."""
    if np.isfinite(got).all() and np.isfinite(want).all():
        return ""
    for what, mine, theirs in (
        ("NaN", np.isnan(got), np.isnan(want)),
        ("+inf", got == np.inf, want == np.inf),
        ("-inf", got == -np.inf, want == -np.inf),
    ):
        wrong = np.argwhere(mine != theirs)
        if len(wrong):
            at = tuple(int(i) for i in wrong[0])
            return f"{what} differs in {len(wrong)} elements, first at {at}: received {got[at]}, expected {want[at]}"
    return ""


def _exact(name: str, got: np.ndarray, want: np.ndarray, rule: str) -> Comparison:
    same = (got == want) | ((got != got) & (want != want))
    if bool(np.all(same)):
        return Comparison(name, Verdict.PASS, rule)
    wrong = np.argwhere(~same)
    at = tuple(int(i) for i in wrong[0])
    text = f"{len(wrong)} of {got.size} elements differ, first at {at}: received {got[at]}, expected {want[at]}"
    gap = 0.0
    if got.dtype != bool:
        with np.errstate(all="ignore"):
            gap = float(np.nanmax(np.abs(got.astype(np.float64) - want.astype(np.float64))))
    return Comparison(name, Verdict.FAIL, rule, math.inf, 0.0, max_abs=gap, detail=text)


def _close(name: str, got: np.ndarray, rounded: np.ndarray, expected: Expected, limit: float) -> Comparison:
    finite = np.isfinite(rounded)
    if not finite.any():
        return Comparison(name, Verdict.PASS, expected.rule, limit=limit)
    kept: Any = ... if finite.all() else finite
    error = np.atleast_1d(np.subtract(got, expected.value, dtype=np.float64))[kept]
    np.abs(error, out=error)
    ulp = float(_steps(got[kept], rounded[kept]).max())
    storage = np.atleast_1d(_storage(rounded, expected.value))[kept]
    rho, sigma = _rho(error, storage, expected, kept, _tiny(rounded.dtype))
    score = ulp if expected.rule == "ulp" else rho
    verdict = Verdict.PASS if score <= limit else Verdict.SUSPICIOUS if score <= SUSPICIOUS * limit else Verdict.FAIL
    detail = ""
    if verdict is not Verdict.PASS:
        flat = np.where(finite, np.abs(got.astype(np.float64) - expected.value), 0.0)
        at = tuple(int(i) for i in np.unravel_index(int(flat.argmax()), flat.shape))
        detail = f"largest error at {at}: received {got[at]!r}, expected {expected.value[at]!r}"
    return Comparison(
        name, verdict, expected.rule, score, limit, rho, ulp, float(error.max()), sigma, detail
    )


def _tiny(dtype: np.dtype) -> float:
    """The smallest normal number."""
    info: Any = ml_dtypes.finfo  # its stub lacks the types
    return float(info(dtype).smallest_normal)


def _storage(rounded: np.ndarray, value: np.ndarray) -> np.ndarray:
    """What rounding the result costs. A float64 value was rounded by the oracle already: by a third of a unit, rms."""
    if rounded.dtype == np.float64:
        return np.asarray(np.spacing(np.abs(rounded)) / math.sqrt(12.0))
    return np.asarray(np.subtract(rounded, value, dtype=np.float64))


def floor_of(expected: Expected) -> np.ndarray:
    """The rounding floor of each element: what was measured, made sure of by the doubt, and the rounding of the result."""
    value = expected.value
    with np.errstate(over="ignore", invalid="ignore"):
        storage = np.nan_to_num(_storage(value.astype(numpy_dtype(expected.dtype)), value), posinf=0.0, neginf=0.0)
    spread = np.zeros(value.shape) if expected.spread is None else expected.spread.astype(np.float64)
    return np.asarray(np.hypot(np.where(np.isfinite(spread), spread, 0.0) * expected.doubt, storage))


def _rho(
    error: np.ndarray, storage: np.ndarray, expected: Expected, kept: Any, tiny: float
) -> tuple[float, float]:
    """rho and sigma. The floor cannot be below the rounding of the result itself, nor below subnormal numbers."""
    variance = np.square(storage)
    if expected.spread is not None:
        spread = expected.spread[kept].astype(np.float64)
        spread[~np.isfinite(spread)] = 0.0
        spread *= expected.doubt
        np.square(spread, out=spread)
        variance += spread
    sigma = max(math.sqrt(float(variance.mean())), tiny)
    variance /= sigma  # in two steps: the square of the smallest float64 would be 0
    variance /= sigma
    variance += 1.0
    share = error / sigma
    with np.errstate(over="ignore"):
        np.square(share, out=share)
    whole = math.sqrt(float(share.mean()))
    share /= variance
    return max(whole, math.sqrt(float(share.max())) / (1.0 + math.sqrt(2.0 * math.log(error.size)))), sigma


def _fail(name: str, expected: Expected, limit: float, detail: str) -> Comparison:
    return Comparison(name, Verdict.FAIL, expected.rule, math.inf, limit, math.inf, math.inf, math.inf, 0.0, detail)
