"""Data sets that a configuration names: files of NumPy arrays, tables of numbers, data shipped with scikit-learn."""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from polymodel.data import Data
from polymodel.errors import BackendUnavailable, DataError
from polymodel.spec import TensorSpec, numpy_dtype

SKLEARN = ("breast_cancer", "diabetes", "digits", "iris", "wine")


def read(
    source: str, inputs: Mapping[str, TensorSpec], target: str, target_spec: TensorSpec, scale: float = 1.0
) -> Data:
    """Read inputs and targets.

    Args:
        source: "sklearn:NAME", or a path that ends in .npz or .csv. An .npz has an array for each input, under its
            name, and one for the target. A .csv has a header; the column of the target is taken out, the other columns
            in their order are the features.
        inputs: spec of every model input; a table's features are cast and reshaped to the only one.
        target: name of the target's array or column.
        target_spec: what the loss wants.
        scale: what a table's features are multiplied with.

    Raises:
        DataError: the source is missing, of another kind, or lacks something.
        BackendUnavailable: scikit-learn is not installed.
    """
    if source.startswith("sklearn:"):
        features, labels = _sklearn(source.removeprefix("sklearn:"))
        return _table(source, features, labels, inputs, target_spec, scale)
    path = Path(source)
    if not path.is_file():
        raise DataError(f"data file {source} does not exist: expected a .npz or .csv file, or sklearn:NAME")
    if path.suffix == ".npz":
        return _arrays(path, inputs, target)
    if path.suffix == ".csv":
        features, labels = _csv(path, target)
        return _table(source, features, labels, inputs, target_spec, scale)
    raise DataError(f"data file {source} is of no known kind: expected .npz, .csv, or sklearn:NAME")


def read_inputs(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    """Arrays by input name from an .npz file, or the only input from a .npy file.

    Raises:
        DataError: the file is missing, damaged, or lacks an input.
    """
    if path.suffix == ".npy" and len(names) == 1:
        return {names[0]: _load(path, [])[""]}
    if path.suffix != ".npz":
        raise DataError(f"{path}: expected a .npz file with an array for each of {', '.join(names)}")
    return _members(path, names)


def _members(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    archive = _load(path, names)
    lacking = [n for n in names if n not in archive]
    if lacking:
        raise DataError(f"{path} has no array {lacking[0]!r}; it has {', '.join(archive) or 'none'}")
    return {n: archive[n] for n in names}


def _load(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    """The wanted arrays of an archive (others are not read and empty), or the array of a .npy file as ""."""
    try:
        with path.open("rb") as stream:
            found: Any = np.load(stream, allow_pickle=False)
            if isinstance(found, np.ndarray):
                return {"": found}
            with found:
                return {n: found[n] if n in names else np.empty(0) for n in found}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} cannot be read as NumPy arrays: {error}") from error


def _arrays(path: Path, inputs: Mapping[str, TensorSpec], target: str) -> Data:
    found = _members(path, [*inputs, target])
    return {n: found[n] for n in inputs}, found[target]


def _csv(path: Path, target: str) -> tuple[np.ndarray, np.ndarray]:
    with path.open(newline="", encoding="utf-8") as stream:
        rows = csv.reader(stream)
        header = next(rows, [])
        if target not in header:
            raise DataError(f"{path} has no column {target!r}; it has {', '.join(header) or 'none'}")
        values = []
        for row in rows:
            if len(row) != len(header):
                raise DataError(f"{path}, line {rows.line_num}: {len(row)} fields, the header has {len(header)}")
            try:
                values.append([float(v) for v in row])
            except ValueError as error:
                raise DataError(f"{path}, line {rows.line_num}: {error}") from None
    if not values:
        raise DataError(f"{path} has a header and no rows: the data set is empty")
    table = np.array(values, np.float64)
    column = header.index(target)
    return np.delete(table, column, axis=1), table[:, column]


def _sklearn(name: str) -> tuple[np.ndarray, np.ndarray]:
    if name not in SKLEARN:
        raise DataError(f"unknown data set 'sklearn:{name}'; known are {', '.join(SKLEARN)}")
    try:
        from sklearn import datasets
    except ImportError as error:
        raise BackendUnavailable(f"sklearn:{name} needs scikit-learn: pip install -e '.[data]' ({error})") from error
    features, labels = getattr(datasets, f"load_{name}")(return_X_y=True)
    return np.asarray(features, np.float64), np.asarray(labels)


def _table(
    source: str,
    features: np.ndarray,
    labels: np.ndarray,
    inputs: Mapping[str, TensorSpec],
    target_spec: TensorSpec,
    scale: float,
) -> Data:
    if len(inputs) != 1:
        raise DataError(f"{source} is a table but the model has the inputs {', '.join(inputs)}: use a .npz file")
    (name, spec), count = next(iter(inputs.items())), len(features)
    sizes = tuple(d for d in spec.shape[1:] if isinstance(d, int))
    if len(sizes) != spec.rank - 1 or int(np.prod(sizes)) != features.shape[1]:
        raise DataError(f"{source} has {features.shape[1]} features, which do not fill input {name!r} {spec}")
    wanted = numpy_dtype(target_spec.dtype)
    if wanted.kind in "iu" and not np.array_equal(labels, np.round(labels)):
        raise DataError(f"{source}: the loss wants {wanted} labels, the target column has fractions")
    x = (features * scale).astype(numpy_dtype(spec.dtype)).reshape(count, *sizes)
    shape = (count, *(d for d in target_spec.shape[1:] if isinstance(d, int)))
    y = labels.astype(wanted)
    return {name: x}, y.reshape(shape) if int(np.prod(shape)) == y.size else y
