"""Labels as targets."""

from __future__ import annotations

from typing import Literal

import numpy as np

from polymodel.errors import DataError

_MOST = 2.0**63


def as_label(label: float | np.ndarray, kind: Literal["int", "float"]) -> np.ndarray:
    """A label as int64 (a class) or float32, of shape () or (labels,); a vector of one number is that number.

    Raises:
        DataError: a class is no whole number.
    """
    if kind == "int" and isinstance(label, float) and abs(label) < _MOST and label.is_integer():
        return np.array(label, np.int64)
    found = np.asarray(label, np.float32)
    found = found[0] if found.shape == (1,) else found
    if kind == "float":
        return found
    if not np.array_equal(found, np.round(found)) or (np.abs(found) >= _MOST).any():
        raise DataError(f"the label {label} is no class: expected a whole number below 2^63, or say labels='float'")
    return found.astype(np.int64)
