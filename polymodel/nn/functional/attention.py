"""Attention as the operator of the ONNX standard (opset 23)."""

from __future__ import annotations

from polymodel.builder import current_builder
from polymodel.tensor import Operand, Tensor


def scaled_dot_product_attention(
    query: Operand,
    key: Operand,
    value: Operand,
    mask: Operand | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    num_heads: int | None = None,
    num_kv_heads: int | None = None,
) -> Tensor:
    """softmax(scale * Q K^T + mask) V for every head (Vaswani et al., 2017, eq. 1; ONNX Attention).

    Args:
        query: (batch, heads, queries, size), or (batch, queries, heads * size) with num_heads.
        key: (batch, kv heads, keys, size), or (batch, keys, kv heads * size).
        value: like key; its size may differ.
        mask: broadcastable to (batch, heads, queries, keys): bool, True where a key takes part, or numbers to add.
        is_causal: a query sees no later key.
        scale: 1/sqrt(size) when None.
        num_heads: query heads of a 3-axis query.
        num_kv_heads: heads of key and value; num_heads when None. Fewer means grouped queries.

    Returns:
        (batch, heads, queries, value size), or (batch, queries, heads * value size) for a 3-axis query.
    """
    return current_builder().op(
        "Attention",
        query,
        key,
        value,
        None if mask is None else _for_each_query(mask, query),
        is_causal=int(is_causal),
        scale=scale,
        q_num_heads=num_heads,
        kv_num_heads=num_kv_heads if num_kv_heads is not None else num_heads,
    )


def _for_each_query(mask: Operand, query: Operand) -> Tensor:
    """The mask with the axis of the queries written out: ONNX Runtime does not broadcast it, as the standard asks."""
    if mask.rank < 2 or mask.shape[-2] != 1:
        return mask.tensor()
    b = current_builder()
    queries = query.shape[-2]
    count = [queries] if isinstance(queries, int) else b.op("Shape", query, start=query.rank - 2, end=query.rank - 1)
    ones = [1] * (mask.rank - 2)
    if isinstance(count, list):
        return b.op("Expand", mask, [*ones, *count, 1])
    return b.op("Expand", mask, b.op("Concat", *([b.constant(ones, "int64")] if ones else []), count, [1], axis=0))
