"""The class of a number: NaN, an infinity, a zero, subnormal, or an ordinary number; each but NaN with its sign."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from polymodel_conformance.tolerance.verdict import Comparison, Verdict

WORDS = ("ordinary", "subnormal", "zero", "infinity", "NaN")


def classes(array: np.ndarray, zero_signs: bool) -> np.ndarray:
    """For each element the place of its class in `WORDS`, negative where its sign bit is set; NaN has no sign.

    Args:
        array: of a floating-point type.
        zero_signs: whether -0 is another class than 0.
    """
    info: Any = ml_dtypes.finfo  # its stub lacks the types
    size = np.abs(array.astype(np.float64))
    found = np.where(size < float(info(array.dtype).smallest_normal), 2, 1)
    found = np.where(size == 0, 3, np.where(np.isinf(size), 4, np.where(np.isnan(size), 5, found)))
    signed = np.signbit(array.astype(np.float64)) & (found != 5) & (zero_signs | (found != 3))
    return np.where(signed, -found, found)


def same_classes(name: str, got: object, want: np.ndarray, zero_signs: bool, family: str = "") -> Comparison:
    """Judge one tensor: dtype and shape exact, numbers by their class, everything else by its value.

    Args:
        name: for the report.
        got: what was returned; anything but an array fails.
        want: what should have been, in the type that it must have.
        zero_signs: whether the sign of a zero is judged.
        family: for the report.
    """
    detail = ""
    if not isinstance(got, np.ndarray):
        detail = f"received {type(got).__name__}, expected an array"
    elif (got.dtype, got.shape) != (want.dtype, want.shape):
        detail = f"received {got.dtype}{list(got.shape)}, expected {want.dtype}{list(want.shape)}"
    else:
        float_type = want.dtype.kind == "f" or want.dtype.name == "bfloat16"
        wrong = np.argwhere(classes(got, zero_signs) != classes(want, zero_signs) if float_type else got != want)
        if len(wrong):
            at = tuple(int(i) for i in wrong[0])
            detail = f"{len(wrong)} of {got.size} elements differ, first at {at}: received {got[at]!r}, expected {want[at]!r}"
            if float_type:
                kinds = (WORDS[abs(int(classes(a, zero_signs)[at])) - 1] for a in (got, want))
                detail += " ({} for {})".format(*kinds)
    verdict = Verdict.FAIL if detail else Verdict.PASS
    return Comparison(name, verdict, "exact", float("inf") if detail else 0.0, detail=detail, family=family)
