"""What is known of a tensor before it exists: element type and sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias, final

import numpy as np
import onnx_ir as ir

from polymodel.errors import DtypeError, NeedsHost, ShapeError

Dim: TypeAlias = int | str | None
"""A size: a number, a name that stands for one unknown size wherever it appears, or None when nothing is known."""

_NAMES = {ir.DataType.FLOAT: "float32", ir.DataType.DOUBLE: "float64"}
_TYPES = {_NAMES.get(t, t.name.lower()): t for t in ir.DataType if t is not ir.DataType.UNDEFINED}


def dtype_name(dtype: ir.DataType) -> str:
    """The NumPy-style name of an ONNX element type: FLOAT is "float32"."""
    return _NAMES.get(dtype, dtype.name.lower())


def onnx_dtype(name: str) -> ir.DataType:
    """The ONNX element type of a NumPy-style name.

    Raises:
        DtypeError: the name is none of ONNX's element types.
    """
    try:
        return _TYPES[name]
    except KeyError:
        raise DtypeError(f"unknown dtype {name!r}; expected one of {', '.join(_TYPES)}") from None


@cache
def numpy_dtype(name: str) -> np.dtype:
    """The NumPy dtype that holds elements of the named type (ml_dtypes for bfloat16 and smaller floats)."""
    return np.dtype(onnx_dtype(name).numpy())


@cache
def _name_of(dtype: np.dtype) -> str:
    return dtype_name(ir.DataType.from_numpy(dtype.newbyteorder("=")))


def array_dtype(array: np.ndarray) -> str:
    """The NumPy-style name of an array's ONNX element type: ml_dtypes' float8_e4m3fn is "float8e4m3fn"."""
    return "string" if array.dtype.kind in "OUS" else _name_of(array.dtype)


@final
@dataclass(frozen=True)
class TensorSpec:
    """Sizes and element type of a tensor.

    Args:
        shape: one entry per axis: a size, a name for an unknown size (equal names mean equal sizes), or None.
        dtype: NumPy-style element type name.

    Example:
        >>> TensorSpec(("batch", 1, 8, 8), "float32")
        TensorSpec(shape=('batch', 1, 8, 8), dtype='float32')
    """

    shape: tuple[Dim, ...]
    dtype: str = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        onnx_dtype(self.dtype)
        for dim in self.shape:
            if isinstance(dim, bool) or not (dim is None or isinstance(dim, int | str)):
                raise ShapeError(f"a size is an int, a name or None; received {dim!r} in {self.shape}")
            if isinstance(dim, int) and dim < 0:
                raise ShapeError(f"a size is at least 0; received {dim} in {self.shape}: name an unknown size instead")

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def is_static(self) -> bool:
        """Whether every size is a number."""
        return all(isinstance(d, int) for d in self.shape)

    @property
    def size(self) -> int:
        """Number of elements; ShapeError when a size is unknown."""
        if not self.is_static:
            raise ShapeError(f"the number of elements of {self} is unknown")
        return math.prod(d for d in self.shape if isinstance(d, int))

    def bind(self, dims: Mapping[str, int]) -> TensorSpec:
        """The same spec with named sizes replaced by numbers."""
        return TensorSpec(tuple(dims.get(d, d) if isinstance(d, str) else d for d in self.shape), self.dtype)

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join('?' if d is None else str(d) for d in self.shape)}]"


def bind_dims(specs: Mapping[str, TensorSpec], shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Match concrete shapes with specs.

    Returns:
        The size of every named dimension.

    Raises:
        ShapeError: a rank or a size differs, or one name would stand for two sizes.
    """
    dims: dict[str, int] = {}
    for name, spec in specs.items():
        shape = tuple(shapes[name])
        if len(shape) != spec.rank:
            raise ShapeError(f"input {name!r}: expected {spec.rank} axes {spec}, received shape {shape}")
        for axis, (want, got) in enumerate(zip(spec.shape, shape, strict=True)):
            known = dims.setdefault(want, got) if isinstance(want, str) else want
            if known is not None and known != got:
                why = f" ({want!r} is {known} elsewhere)" if isinstance(want, str) else ""
                raise ShapeError(f"input {name!r}: expected {spec}, received shape {shape}: axis {axis} is {got}{why}")
    return dims


def is_tensor(value: ir.Value) -> bool:
    """Whether a graph value is a tensor of known element type and rank."""
    return isinstance(value.type, ir.TensorType) and value.dtype is not None and value.shape is not None


def spec_of(value: ir.Value) -> TensorSpec:
    """The spec of a graph value.

    Raises:
        NeedsHost: the value is no tensor, or its element type or rank is unknown.
    """
    if not isinstance(value.type, ir.TensorType) or value.dtype is None:
        raise NeedsHost(f"value {value.name!r} has no tensor element type ({value.type})")
    if value.shape is None:
        raise NeedsHost(f"value {value.name!r} has no known rank")
    dims = tuple(d if isinstance(d, int) else d.value for d in value.shape)
    return TensorSpec(dims, dtype_name(value.dtype))


def spec_of_array(array: np.ndarray) -> TensorSpec:
    """The spec of an array; strings are held as objects."""
    return TensorSpec(array.shape, array_dtype(array))


def ir_shape(spec: TensorSpec) -> ir.Shape:
    """The onnx-ir shape of a spec."""
    return ir.Shape(spec.shape)
