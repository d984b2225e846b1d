"""Tensors of an ONNX file as NumPy arrays, believed only after declared sizes and data were compared.

External data is read from inside the folder of the file and from nowhere else: no absolute path, no way up, no
symbolic link that leads out, no device or pipe, no range beyond the end of the file. Large tensors are mapped: who loads
a file needs memory for what is used of them, and the file has to stay as it is as long as the graph lives.
"""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  registers the small floats that numpy_helper returns
import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from polymodel.errors import ArtifactError

MAX_ELEMENTS = 1 << 40
MAPPED = 1 << 28
"""Bytes from which on external data is mapped instead of read."""
_MAX_RANK = 64
_PACKED = {
    getattr(TensorProto, name): per_byte
    for name, per_byte in (("INT4", 2), ("UINT4", 2), ("FLOAT4E2M1", 2), ("INT2", 4), ("UINT2", 4))
    if hasattr(TensorProto, name)
}
_COMPLEX = (TensorProto.COMPLEX64, TensorProto.COMPLEX128)
_KNOWN = frozenset(TensorProto.DataType.values()) - {TensorProto.UNDEFINED}


def element_count(dims: Any, what: str) -> int:
    """Product of declared sizes.

    Raises:
        ArtifactError: a size is negative, or no machine holds so many elements.
    """
    sizes = list(dims)
    if len(sizes) > _MAX_RANK:
        raise ArtifactError(f"{what} declares {len(sizes)} axes; expected at most {_MAX_RANK}")
    if any(d < 0 for d in sizes):
        raise ArtifactError(f"{what} declares the negative size in {sizes}")
    count: int = math.prod(sizes)
    if count > MAX_ELEMENTS:
        raise ArtifactError(f"{what} declares {count:.3g} elements {sizes}; expected at most {MAX_ELEMENTS:.3g}")
    return count


def to_array(tensor: TensorProto, folder: Path | None, what: str) -> np.ndarray:
    """The values of a tensor.

    Args:
        tensor: as it stands in the file.
        folder: where external data may lie; None when the model did not come from a file.
        what: words that name it in messages.

    Raises:
        ArtifactError: element type, sizes and data do not fit together, or external data lies elsewhere.
    """
    if tensor.data_type not in _KNOWN:
        raise ArtifactError(f"{what} has the unknown element type {tensor.data_type}")
    if tensor.HasField("segment"):
        raise ArtifactError(f"{what} is stored in segments, which no writer uses: write it whole")
    count = element_count(tensor.dims, what)
    if tensor.data_location == TensorProto.EXTERNAL:
        return _external(tensor, folder, what, count)
    if tensor.HasField("raw_data"):
        _expect(what, "bytes", byte_count(tensor.data_type, count), len(tensor.raw_data))
        if tensor.data_type == TensorProto.STRING:
            raise ArtifactError(f"{what} holds strings as raw bytes, which the standard does not define")
    else:
        field = onnx.helper.tensor_dtype_to_field(tensor.data_type)
        wanted = count * (2 if tensor.data_type in _COMPLEX else 1)
        if tensor.data_type in _PACKED:
            wanted = -(-count // _PACKED[tensor.data_type])
        _expect(what, "values", wanted, len(getattr(tensor, field)))
    return np.asarray(numpy_helper.to_array(tensor))


def byte_count(data_type: int, count: int) -> int:
    """Bytes of raw data of so many elements; 0 for strings, which have none."""
    if data_type in _PACKED:
        return -(-count // _PACKED[data_type])
    if data_type == TensorProto.STRING:
        return 0
    return count * int(onnx.helper.tensor_dtype_to_np_dtype(data_type).itemsize)


def _expect(what: str, unit: str, wanted: int, got: int) -> None:
    if wanted != got:
        raise ArtifactError(f"{what} declares {wanted} {unit} but holds {got}: the file is damaged")


def _external(tensor: TensorProto, folder: Path | None, what: str, count: int) -> np.ndarray:
    entries = {e.key: e.value for e in tensor.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise ArtifactError(f"{what} lies in the file {location!r}: load the model by its path, not as bytes")
    path = external_path(folder, location, what)
    wanted = byte_count(tensor.data_type, count)
    if tensor.data_type == TensorProto.STRING:
        raise ArtifactError(f"{what} holds strings outside the file, which the standard does not define")
    try:
        offset, length = int(entries.get("offset", "0")), int(entries.get("length", str(wanted)))
    except ValueError:
        raise ArtifactError(f"{what}: offset and length of external data are numbers, received {entries}") from None
    _expect(what, "bytes", wanted, length)
    size = path.stat().st_size
    if offset < 0 or offset + length > size:
        raise ArtifactError(f"{what} is bytes {offset} to {offset + length} of {location!r}, which has only {size}")
    if tensor.data_type not in _PACKED:  # a message cannot hold 2 GiB, an array can
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)).newbyteorder("<")
        stored = _mapped(path, dtype, count, offset) if length >= MAPPED else np.fromfile(path, dtype, count, offset=offset)
        return stored.reshape(tuple(tensor.dims)).astype(dtype.newbyteorder("="), copy=False)
    with path.open("rb") as file:
        file.seek(offset)
        raw = file.read(length)
    filled = TensorProto(data_type=tensor.data_type, dims=tensor.dims, name=tensor.name, raw_data=raw)
    return np.asarray(numpy_helper.to_array(filled))


def _mapped(path: Path, dtype: np.dtype, count: int, offset: int) -> np.ndarray:
    """The numbers where they lie: read when they are used, written to nowhere but memory."""
    return np.asarray(np.memmap(path, dtype, "c", offset, (count,)))


def external_path(folder: Path, location: str, what: str) -> Path:
    """The file that external data lies in.

    Raises:
        ArtifactError: it is not a plain file inside the folder.
    """
    path = Path(location)
    if not path.parts or "\0" in location or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise ArtifactError(
            f"{what} refers to the file {location!r}; external data must lie in the model's folder, as a relative path"
        )
    root = os.path.realpath(folder)
    real = os.path.realpath(os.path.join(root, location))
    if os.path.commonpath((root, real)) != root:
        raise ArtifactError(f"{what} refers to {location!r}, a link that leads out of the model's folder: refused")
    try:
        mode = os.stat(real).st_mode
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{what} refers to {location!r}, which cannot be read: {error}") from None
    if not stat.S_ISREG(mode):
        raise ArtifactError(f"{what} refers to {location!r}, which is not a plain file")
    return Path(real)
