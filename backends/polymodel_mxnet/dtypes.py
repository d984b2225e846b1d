"""Element types: names of the standard, MXNet's names, and NumPy arrays in and out."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import onnx_ir as ir

from polymodel.errors import Unsupported
from polymodel.spec import dtype_name
from polymodel_mxnet.compat import LIB, check_call, mxnet

NAMES = frozenset(["float32", "float64", "float16", "int8", "int32", "int64", "uint8", "bool"])
"""Element types that programs of this backend hold. MXNet 1.9.1 has no int16, uint16, uint32 and uint64, and
its bfloat16 is cut off instead of rounded; see polymodel/passes/carriers.py."""


def check_dtype(name: str, where: str) -> None:
    """Raises Unsupported when MXNet has no such element type."""
    if name not in NAMES:
        raise Unsupported(f"{where} is {name}: MXNet programs hold {', '.join(sorted(NAMES))}; cast it, or use torch")


def from_enum(value: int) -> str:
    """The name for a number of ONNX's TensorProto.DataType, as in the attribute `to` of Cast."""
    name = dtype_name(ir.DataType(value))
    check_dtype(name, "the type asked for")
    return name


def to_mxnet(array: np.ndarray, context: Any) -> Any:
    """An mxnet.np array with a copy of the values."""
    check_dtype(array.dtype.name, "an array")
    made = mxnet.nd.empty(array.shape, context, array.dtype).as_np_ndarray()
    write(made, array)
    return made


def write(target: Any, array: np.ndarray) -> None:
    """Copy values into an array of the same shape and type, after every pending use of it."""
    source = np.ascontiguousarray(array)
    if source.size:
        pointer = source.ctypes.data_as(ctypes.c_void_p)
        check_call(LIB.MXNDArraySyncCopyFromCPU(target.handle, pointer, ctypes.c_size_t(source.size)))


def to_numpy(array: Any) -> np.ndarray:
    """A copy of the values; waits until they are computed and raises what went wrong on the way."""
    if array.size == 0:
        array.wait_to_read()
        return np.empty(array.shape, array.dtype)
    result: np.ndarray = array.asnumpy()
    return result
