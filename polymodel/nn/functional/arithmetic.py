"""Elementwise functions and reductions that have no operator sign."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

from polymodel.builder import current_builder
from polymodel.spec import onnx_dtype
from polymodel.tensor import Operand, Tensor


def matmul(a: Operand, b: Any) -> Tensor:
    """Matrix product over the last two axes; the axes before them are broadcast."""
    return current_builder().op("MatMul", a, b)


def abs(x: Operand) -> Tensor:
    """Absolute value."""
    return current_builder().op("Abs", x)


def exp(x: Operand) -> Tensor:
    """e to the x."""
    return current_builder().op("Exp", x)


def log(x: Operand) -> Tensor:
    """Natural logarithm."""
    return current_builder().op("Log", x)


def sqrt(x: Operand) -> Tensor:
    """Square root."""
    return current_builder().op("Sqrt", x)


def erf(x: Operand) -> Tensor:
    """Error function."""
    return current_builder().op("Erf", x)


def maximum(a: Operand, b: Any) -> Tensor:
    """The larger of two tensors, element by element, broadcast."""
    return current_builder().op("Max", a, b)


def minimum(a: Operand, b: Any) -> Tensor:
    """The smaller of two tensors, element by element, broadcast."""
    return current_builder().op("Min", a, b)


def clamp(x: Operand, min: float | None = None, max: float | None = None) -> Tensor:
    """x limited to [min, max]."""
    return current_builder().op("Clip", x, min, max)


def where(condition: Operand, a: Any, b: Any) -> Tensor:
    """a where the condition holds, else b; broadcast. A bare number takes the dtype of the other branch."""
    return current_builder().op("Where", condition, a, b)


def cast(x: Operand, dtype: str) -> Tensor:
    """x in another element type."""
    return current_builder().op("Cast", x, to=onnx_dtype(dtype).value)


def sum(x: Operand, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """Sum over some axes, over all when dim is None."""
    return _reduce("ReduceSum", x, dim, keepdim)


def mean(x: Operand, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """Mean over some axes, over all when dim is None."""
    return _reduce("ReduceMean", x, dim, keepdim)


def max(x: Operand, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """Largest element over some axes, over all when dim is None."""
    return _reduce("ReduceMax", x, dim, keepdim)


def min(x: Operand, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """Smallest element over some axes, over all when dim is None."""
    return _reduce("ReduceMin", x, dim, keepdim)


def _reduce(op_type: str, x: Operand, dim: int | Sequence[int] | None, keepdim: bool) -> Tensor:
    axes = None if dim is None else [dim] if isinstance(dim, int) else list(dim)
    return current_builder().op(op_type, x, axes, keepdims=builtins.int(keepdim))
