"""Attention with several heads."""

from __future__ import annotations

import math
from dataclasses import dataclass
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
@dataclass
class KeyValueCache:
    """Keys and values of the positions that a decoder has seen, in tensors of a fixed size, and the place of the next one.

    A layer that is called with a cache puts the new key and value in and attends over what is there; `keys` and `values` are the
    new tensors then, to be returned as outputs of the graph. The size never changes, so one compiled program does every step.

    Attributes:
        keys: (batch, heads, capacity, size of a head).
        values: likewise.
        position: int64 (batch,): where the new one goes, from 0; what stands there and behind it does not take part.
    """

    keys: Operand
    values: Operand
    position: Operand

    def store(self, key: Tensor, value: Tensor) -> Tensor:
        """Put one position in.

        Args:
            key: (batch, heads, 1, size of a head).
            value: likewise.

        Returns:
            bool (batch, 1, 1, capacity), True where a position takes part: up to the new one.
        """
        capacity = self.keys.shape[2]
        if not isinstance(capacity, int) or key.shape[2] != 1:
            raise ShapeError(f"a cache has a known capacity and takes one position at a time: {self.keys.spec}, {key.spec}")
        places = current_builder().constant(np.arange(capacity))
        position = F.unsqueeze(expect(self.position, rank=1, dtype="int64"), (1, 2, 3))
        here = F.unsqueeze(places, (0, 1, 3)) == position
        self.keys = F.where(here, key, self.keys)
        self.values = F.where(here, value, self.values)
        return F.unsqueeze(places, (0, 1, 2)) <= position


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
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Attend.

        Args:
            query: (batch, queries, embed_dim) with batch_first, else (queries, batch, embed_dim).
            key: of the same layout; the query when None (self-attention).
            value: of the same layout; the key when None.
            mask: broadcastable to (batch, heads, queries, keys): bool, True where a key takes part, or numbers to add.
            key_padding_mask: bool (batch, keys), True where a key takes part.
            is_causal: a query sees no later key.
            cache: the query is one position behind those in it, which are the keys; see KeyValueCache.

        Returns:
            Of the shape of query.
        """
        q, k, v = self._project(query, key, value)
        if cache is not None:
            y = self.out_proj(self._attend_to(cache, q, k, v))
            return y if self.batch_first else F.permute(y, (1, 0, 2))
        mask = _masks(mask, key_padding_mask)
        if self.dropout and current_builder().training:
            y = self._attend_with_dropout(q, k, v, mask, is_causal)
        else:
            y = F.scaled_dot_product_attention(q, k, v, mask, is_causal, num_heads=self.num_heads)
        y = self.out_proj(y)
        return y if self.batch_first else F.permute(y, (1, 0, 2))

    def _attend_to(self, cache: KeyValueCache, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (self._heads(t) for t in (q, k, v))
        seen = cache.store(k, v)
        y = F.scaled_dot_product_attention(q, cache.keys, cache.values, seen)
        return F.reshape(F.permute(y, (0, 2, 1, 3)), (0, 0, self.embed_dim))

    def _heads(self, x: Tensor) -> Tensor:
        """(batch, time, heads * size) -> (batch, heads, time, size)."""
        return F.permute(F.reshape(x, (0, 0, self.num_heads, self.embed_dim // self.num_heads)), (0, 2, 1, 3))

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
        q, k, v = (self._heads(t) for t in (q, k, v))
        scores = (q * (1 / math.sqrt(self.embed_dim // self.num_heads))) @ F.permute(k, (0, 1, 3, 2))
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
