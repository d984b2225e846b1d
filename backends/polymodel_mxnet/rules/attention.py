"""Scaled dot product attention and rotary embedding.

Two stacked products with a softmax between, as the standard defines it. Rows that no key may reach give zeros.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from polymodel.plan import Node
from polymodel_mxnet.dtypes import from_enum
from polymodel_mxnet.rules.linear import from_work, to_work, work_type
from polymodel_mxnet.rules.table import TABLE
from polymodel_mxnet.symbols import Symbol, broadcast, cast, concat, constant, cut, op, reshape, select, transpose


def _heads(node: Node, i: int, x: Symbol, name: str) -> tuple[Symbol, tuple[int, ...]]:
    """An input as (batch, heads, time, size)."""
    shape = node.shape(i)
    if len(shape) == 4:
        return x, shape
    batch, time, width = shape
    heads = int(node.attr(name))
    split = (batch, time, heads, width // heads)
    return transpose(reshape(x, split), (0, 2, 1, 3)), (batch, heads, time, width // heads)


@TABLE.rule("Attention", since=23)
def attention(
    node: Node,
    q: Symbol,
    k: Symbol,
    v: Symbol,
    mask: Symbol = None,
    past_key: Symbol = None,
    past_value: Symbol = None,
    lengths: Symbol = None,
) -> tuple[Symbol, Symbol, Symbol, Symbol | None]:
    kind = node.dtype()
    q, (batch, heads, rows, size) = _heads(node, 0, q, "q_num_heads")
    k, (_, groups, columns, _) = _heads(node, 1, k, "kv_num_heads")
    v, (_, _, _, width) = _heads(node, 2, v, "kv_num_heads")
    past = node.dim(4, 2) if past_key is not None else 0
    if past:
        k, v, columns = concat([past_key, k], 2), concat([past_value, v], 2), columns + past
    present = (k, v)

    def stack(x: Symbol, time: int, last: int, repeat: int) -> Symbol:
        if repeat > 1:
            x = broadcast(reshape(x, (batch, groups, 1, time, last)), (batch, groups, repeat, time, last))
        return to_work(reshape(x, (batch * heads, time, last)), kind)

    scale = 1.0 / math.sqrt(size) if node.attr("scale") is None else float(node.attr("scale"))
    keys, values = stack(k, columns, size, heads // groups), stack(v, columns, width, heads // groups)
    scores = op("batch_dot", stack(q, rows, size, 1) * scale, keys, transpose_b=True)
    scores = reshape(scores, (batch, heads, rows, columns))
    cap = float(node.attr("softcap") or 0.0)
    raw = scores
    if cap > 0:
        scores = op("_npi_tanh", scores * (1.0 / cap)) * cap
    capped = scores
    bias, reachable = _bias(node, mask, lengths, (batch, rows, columns), past)
    if bias is not None:
        scores = op("_npi_add", scores, bias)
    weights = _softmax(node, scores, reachable)
    y = op("batch_dot", reshape(weights, (batch * heads, rows, columns)), values)
    y = from_work(reshape(y, (batch, heads, rows, width)), kind)
    if node.rank() == 3:
        y = reshape(transpose(y, (0, 2, 1, 3)), node.out_shape())
    shown = {0: raw, 1: capped, 2: scores, 3: weights}[int(node.attr("qk_matmul_output_mode") or 0)]
    return y, *present, from_work(shown, kind)


def _softmax(node: Node, scores: Symbol, reachable: Symbol | None) -> Symbol:
    work = work_type(node.dtype())
    precision = node.attr("softmax_precision")
    wide = work if not precision else from_enum(int(precision))
    if wide == "float64" and work != wide:
        scores = cast(scores, wide)
    else:
        wide = work
    if reachable is None:
        weights = op("_npx_softmax", scores, axis=-1)
    else:
        safe = op("_npi_where", reachable, scores, constant(np.zeros((), wide)))
        weights = select(reachable, op("_npx_softmax", safe, axis=-1), 0.0, wide)
    return weights if wide == work else cast(weights, work)


def _bias(
    node: Node, mask: Symbol | None, lengths: Symbol | None, sizes: tuple[int, int, int], past: int
) -> tuple[Symbol | None, Symbol | None]:
    """What is added to the scores, and which rows have a key to attend (bool, one column); None where all have."""
    batch, rows, columns = sizes
    work = work_type(node.dtype())
    allowed = _window(node, lengths, sizes, past)
    if mask is None and lengths is None:
        if allowed is None:
            return None, None
        bias = np.where(allowed, 0, -np.inf).astype(work)
        return constant(bias), None if allowed.any(-1).all() else constant(allowed.any(-1, keepdims=True))
    bias = constant(np.zeros((rows, columns), work))
    if mask is not None:
        bias = op("_npi_add", bias, _mask(node, mask, columns, work))
    if lengths is not None:
        inside = constant(np.arange(columns, dtype=np.int64)) < reshape(lengths, (batch, 1, 1, 1))
        bias = op("_npi_add", bias, _forbid(inside, work))
    if allowed is not None:
        allowed = constant(allowed) if isinstance(allowed, np.ndarray) else allowed
        bias = op("_npi_add", bias, _forbid(allowed, work))
    top = op("_np_max", op("BlockGrad", bias), axis=(-1,), keepdims=True)
    return bias, op("_npi_not_equal_scalar", top, scalar="-inf")


def _window(node: Node, lengths: Symbol | None, sizes: tuple[int, int, int], past: int) -> Any:
    """Which keys a query may see by its place: bool (rows, columns), or a symbol with a batch axis; None for all.

    A query stands `past` keys after its number, or with `lengths` so that the last query meets the last key.
    """
    batch, rows, columns = sizes
    left, right = (node.attr(f"{side}_window_size") for side in ("left", "right"))
    left, right = -1 if left is None else int(left), -1 if right is None else int(right)
    if not node.attr("is_causal") and left < 0 and right < 0:
        return None
    right = 0 if node.attr("is_causal") else right
    ahead = np.arange(rows, dtype=np.int64)[:, None] - np.arange(columns, dtype=np.int64)
    if lengths is None or past:
        ahead = ahead + past
        seen = ahead >= -right if right >= 0 else np.ones_like(ahead, bool)
        return seen & (ahead <= left) if left >= 0 else seen
    place = op("_npi_add", constant(ahead - rows), reshape(lengths, (batch, 1, 1, 1)))
    limits = ([place >= -right] if right >= 0 else []) + ([place <= left] if left >= 0 else [])
    return limits[0] if len(limits) == 1 else op("_npi_multiply", *limits)


def _mask(node: Node, mask: Symbol, columns: int, work: str) -> Symbol:
    """The attention mask as numbers to add; keys that it does not reach are forbidden."""
    shape = node.shape(3)
    bias = _forbid(mask, work) if node.dtype(3) == "bool" else to_work(mask, node.dtype(3))
    missing = columns - shape[-1]
    if missing > 0:
        bias = concat([bias, constant(np.full((*shape[:-1], missing), -np.inf, work))], len(shape) - 1)
    return bias


def _forbid(allowed: Symbol, work: str) -> Symbol:
    return op("_npi_where", allowed, constant(np.zeros((), work)), constant(np.full((), -np.inf, work)))


@TABLE.rule("RotaryEmbedding", since=23)
def rotary_embedding(node: Node, x: Symbol, cos: Symbol, sin: Symbol, positions: Symbol = None) -> Symbol:
    shape = node.shape()
    if len(shape) == 4:
        x, (batch, heads, time, size) = transpose(x, (0, 2, 1, 3)), shape
    else:
        batch, time, width = shape
        heads = int(node.attr("num_heads"))
        size = width // heads
        x = reshape(x, (batch, time, heads, size))
    turned = int(node.attr("rotary_embedding_dim") or 0) or size
    half = turned // 2
    if positions is not None:
        cos, sin = (op("_npi_take", t, positions, axis=0, mode="clip") for t in (cos, sin))
    cos, sin = (reshape(t, (batch, time, 1, half)) for t in (cos, sin))
    rest = [cut(x, 3, turned, size)] if turned < size else []
    x = cut(x, 3, 0, turned)
    pairs = reshape(x, (batch, time, heads, half, 2) if node.attr("interleaved") else (batch, time, heads, 2, half))
    axis = 4 if node.attr("interleaved") else 3
    first, second = (reshape(cut(pairs, axis, i, i + 1), (batch, time, heads, half)) for i in (0, 1))
    real = first * cos - second * sin
    imaginary = first * sin + second * cos
    joined = op("_npi_stack", real, imaginary, num_args=2, axis=axis)
    y = concat([reshape(joined, (batch, time, heads, turned)), *rest], 3)
    return transpose(y, (0, 2, 1, 3)) if len(shape) == 4 else reshape(y, shape)
