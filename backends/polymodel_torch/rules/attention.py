"""Attention: PyTorch's fused kernel where it means the same, the written-out formula elsewhere."""

from __future__ import annotations

import math
from typing import Any

from polymodel.plan import Node
from polymodel_torch.compat import torch
from polymodel_torch.dtypes import from_enum, torch_dtype
from polymodel_torch.rules.elementwise import rounded_softmax
from polymodel_torch.rules.table import TABLE, leaf

_NARROW = (torch.float16, torch.bfloat16)


@TABLE.rule("Attention", since=23)
def attention(node: Node, q: Any, k: Any, v: Any, *more: Any) -> Any:
    mask, past_k, past_v, lengths = (*more, None, None, None, None)[:4]
    heads, kv_heads = node.attr("q_num_heads"), node.attr("kv_num_heads")
    windows = (node.attr(f"{side}_window_size") for side in ("left", "right"))
    left, right = (-1 if w is None else int(w) for w in windows)
    causal, scale, softcap = bool(node.attr("is_causal")), node.attr("scale"), node.attr("softcap") or 0.0
    stash = None if node.attr("softmax_precision") is None else from_enum(node.attr("softmax_precision"))
    plain = mask is None and past_k is None and lengths is None and max(left, right) < 0 and not softcap
    precise = stash is not None and stash != torch_dtype(node.dtype())
    if plain and not precise and not any(node.has_output(i) for i in (1, 2, 3)):
        return _fused(q, k, v, heads, kv_heads, causal, scale)
    results = leaf(_written_out)(
        q, k, v, mask, past_k, past_v, lengths, heads, kv_heads, causal, scale, softcap, left, right,
        int(node.attr("qk_matmul_output_mode") or 0), stash,
    )
    return tuple(results[i] for i in range(4))


def _heads(x: torch.Tensor, heads: int | None) -> torch.Tensor:
    """(batch, length, heads * size) -> (batch, heads, length, size); 4-D inputs are so already."""
    if x.dim() == 4:
        return x
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


def _merge(y: torch.Tensor, rank: int) -> torch.Tensor:
    return y if rank == 4 else y.transpose(1, 2).flatten(2)


def _repeat(x: torch.Tensor, heads: int) -> torch.Tensor:
    """Grouped queries: every key head serves heads / kv_heads neighbouring query heads."""
    return x if x.shape[1] == heads else x.repeat_interleave(heads // x.shape[1], 1)


@leaf
def _fused(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int | None, kv_heads: int | None, causal: bool,
    scale: float | None,
) -> torch.Tensor:
    if q.dtype in _NARROW and q.device.type == "cpu":  # roundings of the standard's function body; no kernel is faster
        more = (None, None, None, None, heads, kv_heads, causal, scale, 0.0, -1, -1, 0, None)
        return _written_out(q, k, v, *more)[0]
    rank = q.dim()
    q, k, v = _heads(q, heads), _heads(k, kv_heads), _heads(v, kv_heads)
    k, v = _repeat(k, q.shape[1]), _repeat(v, q.shape[1])
    return _merge(torch._C._nn.scaled_dot_product_attention(q, k, v, None, 0.0, causal, scale=scale), rank)


def _written_out(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None,
    past_k: torch.Tensor | None, past_v: torch.Tensor | None, lengths: torch.Tensor | None,
    heads: int | None, kv_heads: int | None, causal: bool, scale: float | None, softcap: float,
    left: int, right: int, mode: int, stash: torch.dtype | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """softmax(softcap(q k^T scale) + bias) v; a row with no key left gives zeros.

    Returns:
        y, present key, present value, and the scores at the stage that `mode` names.
    """
    rank, kind = q.dim(), q.dtype
    q, k, v = _heads(q, heads), _heads(k, kv_heads), _heads(v, kv_heads)
    k = k if past_k is None else torch.cat((past_k, k), 2)
    v = v if past_v is None else torch.cat((past_v, v), 2)
    root = torch.tensor(math.sqrt(1 / math.sqrt(q.shape[3]) if scale is None else scale), dtype=kind)
    scores = torch.matmul(q * root, (_repeat(k, q.shape[1]) * root).transpose(2, 3))
    stages = [scores]
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    stages.append(scores)
    bias = _bias(scores, mask, past_k, lengths, causal, left, right)
    if bias is not None:
        scores = scores + bias
    stages.append(scores)
    zero = torch.zeros((), dtype=kind, device=q.device)
    dead = None if bias is None else torch.isneginf(bias).all(-1, keepdim=True)
    if dead is not None:  # before the softmax too: its derivative would be NaN there
        scores = torch.where(dead, zero, scores)
    wide = scores if stash is None else scores.to(stash)
    weights = (rounded_softmax if wide.dtype in _NARROW else torch.softmax)(wide, -1)
    if dead is not None:
        weights = torch.where(dead, zero.to(weights.dtype), weights)
    stages.append(weights.to(kind))
    y = torch.matmul(stages[3], _repeat(v, q.shape[1]))
    return _merge(y, rank), k, v, stages[mode].to(kind)


def _bias(
    scores: torch.Tensor, mask: torch.Tensor | None, past_k: torch.Tensor | None, lengths: torch.Tensor | None,
    causal: bool, left: int, right: int,
) -> torch.Tensor | None:
    """What is added to the scores: the mask, and -inf at every key that a query must not see."""
    rows, columns = scores.shape[-2:]
    device = scores.device
    key = torch.arange(columns, device=device)
    place = torch.arange(rows, device=device).unsqueeze(1)
    if past_k is None and lengths is not None:
        place = place + (lengths.reshape(-1, 1, 1, 1) - rows)
    elif past_k is not None:
        place = place + past_k.shape[2]
    seen = None
    for on, allowed in (
        (causal, key <= place),
        (left >= 0, place - key <= left),
        (right >= 0, key - place <= right),
        (lengths is not None, key < (lengths.reshape(-1, 1, 1, 1) if lengths is not None else 0)),
    ):
        if on:
            seen = allowed if seen is None else seen & allowed
    bias = None
    if mask is not None:
        short = columns - mask.shape[-1]
        if mask.dtype == torch.bool:
            mask = torch.constant_pad_nd(mask, (0, short), 0) if short else mask
            seen = mask if seen is None else seen & mask
        else:
            bias = torch.constant_pad_nd(mask, (0, short), float("-inf")) if short else mask
    if seen is not None:
        zero = torch.zeros((), dtype=scores.dtype, device=device)
        hidden = torch.where(seen, zero, float("-inf"))
        bias = hidden if bias is None else bias + hidden
    return bias


@TABLE.rule("RotaryEmbedding", since=23)
def rotary_embedding(node: Node, x: Any, cos: Any, sin: Any, position: Any = None) -> Any:
    heads, width = node.attr("num_heads"), node.attr("rotary_embedding_dim") or 0
    return _rotate(x, cos, sin, position, heads, width, bool(node.attr("interleaved")))


@leaf
def _rotate(
    x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, position: torch.Tensor | None, heads: int | None,
    width: int, interleaved: bool,
) -> torch.Tensor:
    shape = x.shape
    x = x.transpose(1, 2) if x.dim() == 4 else x.unflatten(2, (heads, -1))
    width = width or x.shape[3]
    if position is not None:
        cos, sin = cos[position], sin[position]
    cos, sin = cos.unsqueeze(2), sin.unsqueeze(2)
    turned, rest = x[..., :width], x[..., width:]
    a, b = (turned[..., 0::2], turned[..., 1::2]) if interleaved else turned.chunk(2, -1)
    real, imaginary = cos * a - sin * b, sin * a + cos * b
    pair = (real, imaginary)
    turned = torch.stack(pair, -1).flatten(-2) if interleaved else torch.cat(pair, -1)
    y = torch.cat((turned, rest), -1)
    return y.transpose(1, 2) if len(shape) == 4 else y.reshape(shape)
