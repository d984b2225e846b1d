"""Element types: names of the standard, torch dtypes, and NumPy arrays in and out without needless copies."""

from __future__ import annotations

import numpy as np

from polymodel.errors import Unsupported
from polymodel.spec import numpy_dtype, onnx_dtype
from polymodel_torch.compat import torch

_DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
    "uint8": torch.uint8,
    "bool": torch.bool,
    "complex64": torch.complex64,
    "complex128": torch.complex128,
}

_BFLOAT16 = numpy_dtype("bfloat16")

NAMES = frozenset(_DTYPES)
"""Element types that programs of this backend hold. PyTorch has uint16, uint32 and uint64 too, but few kernels for them."""


def torch_dtype(name: str) -> torch.dtype:
    """The torch dtype of a name of the standard; Unsupported when torch has none."""
    try:
        return _DTYPES[name]
    except KeyError:
        raise Unsupported(f"PyTorch programs hold no {name}; they hold {', '.join(sorted(NAMES))}") from None


def from_enum(value: int) -> torch.dtype:
    """The torch dtype of a number of ONNX's TensorProto.DataType, as in the attribute `to` of Cast."""
    import onnx_ir as ir

    name = ir.DataType(value).name.lower()
    return torch_dtype({"float": "float32", "double": "float64"}.get(name, name))


def to_torch(array: np.ndarray, device: str = "cpu") -> torch.Tensor:
    """A tensor with the values of an array, sharing its memory on the CPU where that is allowed.

    Memory that is read-only or not in rising order is copied: PyTorch has no read-only tensors.
    """
    flags = array.flags
    if not flags.writeable or not array.dtype.isnative or not (flags.c_contiguous or min(array.strides) >= 0):
        array = np.array(array, array.dtype.newbyteorder("="), order="C")
    if array.dtype == _BFLOAT16:
        tensor = torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)
    else:
        tensor = torch.from_numpy(array)
    return tensor if device == "cpu" else tensor.to(device, non_blocking=True)


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """The values of a tensor as a contiguous array, sharing memory where it lies so on the CPU already."""
    tensor = tensor.detach().cpu().contiguous()
    half = tensor.dtype == torch.bfloat16
    array: np.ndarray = (tensor.view(torch.uint16) if half else tensor).numpy()
    return array.view(numpy_dtype("bfloat16")) if half else array


def numpy_name(dtype: torch.dtype) -> str:
    """The name of the standard for a torch dtype."""
    name = str(dtype).removeprefix("torch.")
    onnx_dtype(name)
    return name
