"""Arrays of other libraries, told by what they can do: no library is imported for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from polymodel.errors import DataError
from polymodel.spec import TensorSpec, numpy_dtype


def as_array(value: Any) -> Any:
    """An array of any framework as a NumPy array, or such arrays by name."""
    if is_frame(value):
        return value
    if isinstance(value, Mapping):
        return {n: as_array(v) for n, v in value.items()}
    if isinstance(value, np.ndarray) or value is None:
        return value
    for way in ("detach", "cpu"):  # tensors that are part of a graph or on a device
        value = getattr(value, way)() if hasattr(value, "detach") and hasattr(value, way) else value
    return value.asnumpy() if hasattr(value, "asnumpy") else np.asarray(value)


def is_frame(value: Any) -> bool:
    """Whether a value is a table with named columns, as pandas.DataFrame."""
    return hasattr(value, "columns") and hasattr(value, "to_numpy") and hasattr(value, "iloc")


def from_frame(frame: Any, inputs: Mapping[str, TensorSpec]) -> dict[str, np.ndarray]:
    """The columns of a table as a model's inputs.

    Args:
        frame: for a model of one input its columns, in their order, are the features; for several inputs each is the column, or
            the columns "input.0", "input.1", ..., of its name.
        inputs: spec of each.

    Returns:
        Arrays of the specs' dtypes and shapes, (rows, ...).

    Raises:
        DataError: a column is missing or holds what is no number; names column and row.
    """
    names = [str(c) for c in frame.columns]
    found = {}
    for name, spec in inputs.items():
        wanted = names if len(inputs) == 1 else [c for c in names if c == name or c.startswith(f"{name}.")]
        if not wanted:
            raise DataError(f"the table has no column {name!r}; it has {', '.join(names)}")
        columns = [column(frame.iloc[:, names.index(c)], c, spec.dtype) for c in wanted]
        sizes = tuple(d for d in spec.shape[1:] if isinstance(d, int))
        if len(sizes) != spec.rank - 1 or int(np.prod(sizes)) != len(columns):
            raise DataError(f"the table has {len(columns)} features ({', '.join(wanted)}), which do not fill input {name!r} {spec}")
        found[name] = np.stack(columns, axis=1).reshape(len(frame), *sizes)
    return found


def column(series: Any, name: str, dtype: str) -> np.ndarray:
    """One column of a table as numbers.

    Raises:
        DataError: a value is none; names column and row.
    """
    values = series.to_numpy()
    kinds = (int, float, np.number, np.bool_, type(None))
    wrong = None
    if values.dtype.kind not in "fiub":
        wrong = next((i for i, v in enumerate(values) if values.dtype.kind != "O" or not isinstance(v, kinds)), None)
    if wrong is not None:
        raise DataError(f"column {name!r}, row {wrong}: {values[wrong]!r} is no number: encode it as numbers first")
    numbers = values.astype(np.float64) if values.dtype.kind == "O" else values
    if numbers.dtype.kind == "f" and np.isnan(numbers).any():
        raise DataError(f"column {name!r}, row {int(np.isnan(numbers).argmax())}: no value: fill or drop such rows first")
    wanted = numpy_dtype(dtype)
    if wanted.kind in "iu" and not np.array_equal(numbers, np.round(numbers)):
        raise DataError(f"column {name!r} has fractions, expected {wanted}")
    found: np.ndarray = numbers.astype(wanted)
    return found
