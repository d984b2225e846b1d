"""Element types: their names in polymodel and in TensorFlow."""

from __future__ import annotations

from typing import Any

from polymodel.errors import Unsupported
from polymodel_tensorflow.compat import tf

_TYPES = {
    "bool": tf.bool,
    "int8": tf.int8,
    "int16": tf.int16,
    "int32": tf.int32,
    "int64": tf.int64,
    "uint8": tf.uint8,
    "float16": tf.float16,
    "bfloat16": tf.bfloat16,
    "float32": tf.float32,
    "float64": tf.float64,
    "complex64": tf.complex64,
    "complex128": tf.complex128,
}

DTYPES = frozenset(_TYPES)
"""Element types that programs of this backend hold. TensorFlow has uint16, uint32 and uint64 too, but few kernels for them."""


def native_dtype(name: str) -> Any:
    """The tf.DType of a NumPy-style name.

    Raises:
        Unsupported: TensorFlow has no such type.
    """
    try:
        return _TYPES[name]
    except KeyError:
        raise Unsupported(
            f"backend 'tensorflow' cannot hold {name}; it holds {', '.join(sorted(DTYPES))}: cast the model's values"
        ) from None


def dtype_of_onnx(number: int) -> Any:
    """The tf.DType of an ONNX element type number, as in Cast's `to`."""
    import onnx_ir as ir

    from polymodel.spec import dtype_name

    return native_dtype(dtype_name(ir.DataType(number)))
