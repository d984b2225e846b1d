"""Affine maps and table look-ups."""

from __future__ import annotations

from polymodel.builder import current_builder
from polymodel.tensor import Operand, Tensor


def linear(x: Operand, weight: Operand, bias: Operand | None = None) -> Tensor:
    """x W^T + b over the last axis.

    Args:
        x: (..., in).
        weight: (out, in).
        bias: (out,) or None.

    Returns:
        (..., out).
    """
    b = current_builder()
    if x.rank == 2:
        return b.op("Gemm", x, weight, bias, transB=1)
    product = b.op("MatMul", x, b.op("Transpose", weight, perm=[1, 0]))
    return product if bias is None else product + bias


def embedding(indices: Operand, weight: Operand) -> Tensor:
    """Rows of a table.

    Args:
        indices: int32 or int64 of any shape, in [0, rows).
        weight: (rows, size).

    Returns:
        (*indices.shape, size).
    """
    return current_builder().op("Gather", weight, indices, axis=0)
