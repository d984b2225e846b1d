"""Data sets that a configuration names: arrays, tables, images in records or folders, data of scikit-learn, MNIST and its like."""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from polymodel.config.data import NAMED, DataSection, Kind, SourceSection
from polymodel.data import ArrayDataset, Data, Dataset, ImageFolder, RecordDataset, fashion_mnist, mnist
from polymodel.data.loader import LOG
from polymodel.data.transforms import Normalize
from polymodel.errors import BackendUnavailable, CorruptSample, DataError
from polymodel.spec import TensorSpec, numpy_dtype

SKLEARN = ("breast_cancer", "diabetes", "digits", "iris", "wine")


def open_source(
    section: DataSection | SourceSection, inputs: Mapping[str, TensorSpec], target_spec: TensorSpec, transforms: bool
) -> Data | Dataset:
    """What a section of a configuration names.

    Args:
        section: of data, or of its validation or test.
        inputs: spec of every model input.
        target_spec: what the loss wants.
        transforms: whether samples will be transformed.

    Returns:
        A data set for images in files, and for those in memory that are transformed; else arrays.

    Raises:
        DataError: it is missing, damaged, or does not fit.
    """
    kind = _kind(section)
    if kind in ("npz", "csv", "sklearn"):
        skip = section.on_error == "skip"
        inputs_, target = read(str(section.place), inputs, section.target, target_spec, section.scale, kind=kind, skip=skip)
        if not transforms:
            return inputs_, target
        if len(inputs) > 1:
            raise DataError(f"transforms are for images of one input, the model has the inputs {', '.join(inputs)}: leave them out")
        (images,) = inputs_.values() if isinstance(inputs_, Mapping) else (inputs_,)
        return ArrayDataset(images, target, f"{section.place}, sample")
    (spec,) = inputs.values() if len(inputs) == 1 else (None,)
    if spec is None:
        raise DataError(f"{section.place} has images but the model has the inputs {', '.join(inputs)}: use a .npz file")
    if kind in ("mnist", "fashion_mnist"):
        return _mnist(section, kind, transforms)
    wanted = spec.shape[1] if spec.rank == 4 else 3
    channels = section.channels or (wanted if isinstance(wanted, int) else 3)
    if kind == "folder":
        return ImageFolder(str(section.place), channels)
    labels = "int" if numpy_dtype(target_spec.dtype).kind in "iu" else "float"
    return RecordDataset(
        section.place, section.index, num_parts=section.num_parts, part_index=section.part_index, channels=channels,
        labels="int" if labels == "int" else "float",
    )


def _kind(section: DataSection | SourceSection) -> Kind:
    if section.kind is not None:
        return section.kind
    text = section.place if isinstance(section.place, str) else section.place[0]
    name, colon, _ = text.partition(":")
    for known in NAMED:
        if colon and name == known:
            return known
    suffix = Path(text).suffix
    if suffix == ".rec":
        return "record"
    if Path(text).is_dir():
        return "folder"
    return "csv" if suffix == ".csv" else "npz"


def _mnist(section: DataSection | SourceSection, kind: Kind, transforms: bool) -> Data | Dataset:
    name = (section.source or "").partition(":")[2]
    part: Literal["train", "test"] | None = "train" if name == "train" else "test" if name == "test" else None
    if part is None:
        raise DataError(f"{kind} has the parts train and test: set source to {kind}:train or {kind}:test, received {section.source!r}")
    folder = section.path if isinstance(section.path, str) else None
    if kind == "mnist" and folder is None:
        raise DataError("mnist needs the path of the folder with its files: set path")
    data = fashion_mnist(part, folder) if kind == "fashion_mnist" else mnist(part, folder or "")
    if transforms:
        return data
    images = Normalize()(data.x, np.empty((len(data), 0)))
    assert isinstance(images, np.ndarray)
    return images, data.y


def read(
    source: str,
    inputs: Mapping[str, TensorSpec],
    target: str,
    target_spec: TensorSpec,
    scale: float = 1.0,
    *,
    kind: Kind | None = None,
    skip: bool = False,
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
        kind: of a file, if its name does not say it.
        skip: leave rows of a table out that cannot be read; they are counted in a warning.

    Raises:
        DataError: the source is missing, of another kind, or lacks something.
        CorruptSample: a row of a table cannot be read; names file and line.
        BackendUnavailable: scikit-learn is not installed.
    """
    if source.startswith("sklearn:"):
        features, labels = _sklearn(source.removeprefix("sklearn:"))
        return _table(source, features, labels, inputs, target_spec, scale)
    path = Path(source)
    if not path.is_file():
        raise DataError(
            f"data file {source} does not exist: expected a .npz, .csv or .rec file, a folder of images, sklearn:NAME, "
            "fashion_mnist:train or mnist:train"
        )
    if path.suffix == ".csv" or kind == "csv":
        features, labels = _csv(path, target, skip)
        return _table(source, features, labels, inputs, target_spec, scale)
    if path.suffix == ".npz" or (kind == "npz" and not path.suffix):
        return _arrays(path, inputs, target)
    raise DataError(f"data file {source} is of no known kind: expected .npz, .csv, .rec, or sklearn:NAME; or set kind")


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


def _csv(path: Path, target: str, skip: bool) -> tuple[np.ndarray, np.ndarray]:
    skipped: list[CorruptSample] = []
    with path.open(newline="", encoding="utf-8") as stream:
        rows = csv.reader(stream)
        header = next(rows, [])
        if target not in header:
            raise DataError(f"{path} has no column {target!r}; it has {', '.join(header) or 'none'}")
        values = []
        for row in rows:
            try:
                values.append(_numbers(row, header, f"{path}, line {rows.line_num}"))
            except CorruptSample as error:
                if not skip:
                    raise
                skipped.append(error)
    if skipped:
        LOG.warning("%d rows of %s could not be read and were skipped; the first: %s", len(skipped), path, skipped[0])
    if not values:
        raise DataError(f"{path} has a header and no rows that can be read: the data set is empty")
    table = np.array(values, np.float64)
    column = header.index(target)
    return np.delete(table, column, axis=1), table[:, column]


def _numbers(row: list[str], header: list[str], where: str) -> list[float]:
    if len(row) != len(header):
        raise CorruptSample(where, f"{len(row)} fields, the header has {len(header)}")
    try:
        return [float(v) for v in row]
    except ValueError as error:
        raise CorruptSample(where, str(error)) from None


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
