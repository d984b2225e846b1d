"""Whether two arrays are the same, bit by bit: -0 is not 0, and a NaN is only the same NaN."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from polymodel_conformance.tolerance.verdict import Comparison, Verdict


def same_bits(name: str, got: object, want: np.ndarray, family: str = "") -> Comparison:
    """Judge one tensor by another one.

    Args:
        name: for the report.
        got: what was returned; anything but an array of the same dtype and shape fails.
        want: what should have been.
        family: for the report.
    """
    detail, gap = "", 0.0
    if not isinstance(got, np.ndarray | np.generic):
        detail = f"received {type(got).__name__}, expected an array"
    elif (got.dtype, got.shape) != (want.dtype, want.shape):
        detail = f"received {got.dtype}{list(got.shape)}, expected {want.dtype}{list(want.shape)}"
    else:
        got = np.asarray(got)
        wrong = np.argwhere((_bytes(got) != _bytes(want)).any(axis=-1))
        if len(wrong):
            at = tuple(int(i) for i in wrong[0])
            detail = f"{len(wrong)} of {got.size} elements differ, first at {at}: received {got[at]!r}, expected {want[at]!r}"
            with np.errstate(all="ignore"):
                gap = float(np.nanmax(np.abs(got.astype(np.float64) - want.astype(np.float64)), initial=0.0))
    return Comparison(
        name, Verdict.FAIL if detail else Verdict.PASS, "exact", float("inf") if detail else 0.0, max_abs=gap, detail=detail,
        family=family,
    )


def all_same_bits(got: Mapping[str, np.ndarray], want: Mapping[str, np.ndarray], family: str = "") -> list[Comparison]:
    """Judge all tensors of an answer by those of another one."""
    return [same_bits(n, got.get(n), a, family) for n, a in want.items()]


def _bytes(array: np.ndarray) -> np.ndarray:
    """One more axis, with the bytes of an element."""
    whole = np.ascontiguousarray(array).reshape(array.shape)  # the first makes an axis for a scalar
    return np.asarray(whole[..., None].view(np.uint8))
