"""Is a result right? Its distance from the float64 meaning in units of the measured rounding floor.

rho = rms(result - meaning) / sigma, where sigma is at least the size of numbers that may come out as zero. Correct
float32 programs have rho of a few units; a wrong epsilon, a dropped term or a rounding to a shorter type has thousands.
rho up to LIMIT passes. See docs/concepts.md and conformance for the measurements behind LIMIT.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np

from polymodel.artifact.floor import UNDERFLOW, Meaning

LIMIT = 40.0


@final
@dataclass(frozen=True)
class Row:
    """One output of one runner.

    Attributes:
        runner: who computed it, with its version.
        output: name of the output; "" when the runner failed as a whole.
        rho: distance in units of the floor; for integers and booleans the number of wrong elements.
        max_abs: largest absolute difference; for readers, it decides nothing.
        verdict: "pass", "fail", "error" (it did not run) or "absent" (not installed).
        note: the reason in words.
    """

    runner: str
    output: str
    rho: float | None
    max_abs: float | None
    verdict: str
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def compare(runner: str, output: str, result: np.ndarray, expected: Meaning, dtype: str) -> Row:
    """Judge one output.

    Args:
        runner: who computed it.
        output: its name.
        result: what was computed.
        expected: what it means.
        dtype: the declared element type.
    """
    want = expected.value
    if result.shape != want.shape:
        return Row(runner, output, None, None, "fail", f"shape {list(result.shape)}, expected {list(want.shape)}")
    if result.dtype.name != dtype:
        return Row(runner, output, None, None, "fail", f"dtype {result.dtype}, expected {dtype}")
    if want.dtype.kind != "f":
        wrong = int(np.count_nonzero((result != want) & expected.decided))
        note = f"{wrong} elements differ" if wrong else ""
        return Row(runner, output, float(wrong), None, "fail" if wrong else "pass", note)
    wide = result.astype(np.float64)
    if not _same_class(wide, want):
        return Row(runner, output, None, None, "fail", "NaN or infinity in other places")
    error = np.where(expected.decided, wide, 0.0) - np.where(expected.decided, want, 0.0)
    worst = float(np.max(np.abs(error), initial=0.0))
    distance = float(np.sqrt(np.mean(np.square(error)))) if error.size else 0.0
    least = UNDERFLOW.get(dtype, 0.0)
    if worst > least and not expected.sigma:
        return Row(runner, output, None, worst, "fail", "differs where arithmetic rounds nothing")
    rho = distance / max(expected.sigma, least) if distance else 0.0
    return Row(runner, output, rho, worst, "pass" if rho <= LIMIT else "fail")


def _same_class(got: np.ndarray, want: np.ndarray) -> bool:
    infinite = np.isinf(want)
    return bool(
        np.array_equal(np.isnan(got), np.isnan(want))
        and np.array_equal(np.isinf(got), infinite)
        and np.array_equal(got[infinite], want[infinite])
    )
