"""Attention with several heads."""

from __future__ import annotations

import math
from typing import final

import numpy as np

from polymodel.builder import current_builder
from polymodel.errors import ConfigError, DtypeError, ShapeError
from polymodel.nn import functional as F
from polymodel.nn import init
from polymodel.nn.checks import expect
from polymodel.nn.linear import Linear
from polymodel.nn.module import Module
from polymodel.nn.parameter import Parameter
from polymodel.tensor import Operand, Tensor


@final
class MultiheadAttention(Module):
    """Project, attend with every head, project back (Vaswani et al., "Attention is all you need", 2017, 3.2).

    Parameters `in_proj_weight` (3 * embed_dim, embed_dim) for query, key and value on top of each other, Xavier
    uniform; `in_proj_bias` (3 * embed_dim,), zeros; `out_proj.weight` (embed_dim, embed_dim) as in Linear;
    `out_proj.bias`, zeros; as torch.nn.MultiheadAttention starts them. Emits the ONNX operator Attention; only in
    training with dropout it emits the products and the softmax one by one, since that operator drops nothing.

    Differs from PyTorch in two points: masks say what takes part (as in scaled_dot_product_attention, Keras and ONNX),
    and only the output is returned, not the weights.

    Args:
        embed_dim: size of query, key, value and output.
        num_heads: must divide embed_dim.
        dropout: probability in training that a key is dropped for a query.
        bias: whether the projections have biases.
        batch_first: tensors are (batch, time, size) instead of (time, batch, size).
        dtype: of parameters, input and output.

    Example:
        >>> from polymodel import Model, TensorSpec
        >>> model = Model(MultiheadAttention(8, 2, batch_first=True), {"x": TensorSpec(("batch", 5, 8))}, ["y"])
        >>> print(model.graph.specs["y"])
        float32[batch, 5, 8]
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        batch_first: bool = False,
        dtype: str = "float32",
    ) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise ConfigError(f"num_heads must divide embed_dim {embed_dim}, received {num_heads}")
        self.embed_dim, self.num_heads, self.dropout, self.batch_first = embed_dim, num_heads, dropout, batch_first
        self.in_proj_weight = Parameter((3 * embed_dim, embed_dim), init.xavier_uniform(), dtype)
        self.in_proj_bias = Parameter((3 * embed_dim,), init.zeros, dtype) if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias, dtype)
        if self.out_proj.bias is not None:
            self.out_proj.bias.init = init.zeros

    def forward(
        self,
        query: Operand,
        key: Operand | None = None,
        value: Operand | None = None,
        mask: Operand | None = None,
        key_padding_mask: Operand | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Attend.

        Args:
            query: (batch, queries, embed_dim) with batch_first, else (queries, batch, embed_dim).
            key: of the same layout; the query when None (self-attention).
            value: of the same layout; the key when None.
            mask: broadcastable to (batch, heads, queries, keys): bool, True where a key takes part, or numbers to add.
            key_padding_mask: bool (batch, keys), True where a key takes part.
            is_causal: a query sees no later key.

        Returns:
            Of the shape of query.
        """
        q, k, v = self._project(query, key, value)
        mask = _masks(mask, key_padding_mask)
        if self.dropout and current_builder().training:
            y = self._attend_with_dropout(q, k, v, mask, is_causal)
        else:
            y = F.scaled_dot_product_attention(q, k, v, mask, is_causal, num_heads=self.num_heads)
        y = self.out_proj(y)
        return y if self.batch_first else F.permute(y, (1, 0, 2))

    def _project(self, query: Operand, key: Operand | None, value: Operand | None) -> list[Tensor]:
        q = self._batched(query)
        if key is None and value is None:
            return list(F.split(F.linear(q, self.in_proj_weight, self.in_proj_bias), 3, -1))
        k = q if key is None else self._batched(key)
        v = k if value is None else self._batched(value)
        weights = F.split(self.in_proj_weight, 3, 0)
        biases = (None, None, None) if self.in_proj_bias is None else F.split(self.in_proj_bias, 3, 0)
        return [F.linear(x, w, b) for x, w, b in zip((q, k, v), weights, biases, strict=True)]

    def _batched(self, x: Operand) -> Tensor:
        x = expect(x, rank=3, dtype=self.in_proj_weight.dtype, last=self.embed_dim)
        return x if self.batch_first else F.permute(x, (1, 0, 2))

    def _attend_with_dropout(self, q: Tensor, k: Tensor, v: Tensor, mask: Operand | None, is_causal: bool) -> Tensor:
        heads, size = self.num_heads, self.embed_dim // self.num_heads
        q, k, v = (F.permute(F.reshape(t, (0, 0, heads, size)), (0, 2, 1, 3)) for t in (q, k, v))
        scores = (q * (1 / math.sqrt(size))) @ F.permute(k, (0, 1, 3, 2))
        for m in (mask, _causal(q, k) if is_causal else None):
            if m is not None:
                scores = F.where(m, scores, -math.inf) if m.dtype == "bool" else scores + m
        y = F.dropout(F.softmax(scores), self.dropout) @ v
        return F.reshape(F.permute(y, (0, 2, 1, 3)), (0, 0, self.embed_dim))


def _masks(mask: Operand | None, padding: Operand | None) -> Operand | None:
    if padding is None:
        return mask
    if padding.dtype != "bool":
        raise DtypeError(f"expected key_padding_mask bool, True where a key takes part; received {padding.spec}")
    padding = F.unsqueeze(expect(padding, rank=2), (1, 2))
    if mask is None:
        return padding
    if mask.dtype != "bool":
        return F.where(padding, mask, -math.inf)
    return current_builder().op("And", mask, padding)


def _causal(q: Tensor, k: Tensor) -> Tensor:
    queries, keys = q.shape[2], k.shape[2]
    if not isinstance(queries, int) or not isinstance(keys, int):
        raise ShapeError(f"is_causal with dropout needs known numbers of queries and keys: {q.spec}, {k.spec}")
    return current_builder().constant(np.tri(queries, keys, dtype=bool))
