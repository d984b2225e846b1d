"""Scaled dot-product attention with everything that the ONNX operator adds to it."""

from __future__ import annotations

import math

import numpy as np

from polymodel.plan import Node
from polymodel_conformance.oracle import primitives as p
from polymodel_conformance.oracle.curves import CURVES
from polymodel_conformance.oracle.table import ORACLE
from polymodel_conformance.oracle.tape import Array, Value


def heads(x: Value, count: int) -> Value:
    """(B, S, heads * D) as (B, heads, S, D)."""
    return p.transpose(p.reshape(x, (x.shape[0], x.shape[1], count, -1)), (0, 2, 1, 3))


def repeated(x: Value, times: int) -> Value:
    """Each head `times` times in a row."""
    if times == 1:
        return x
    b, h, s, d = x.shape
    wide = p.broadcast(p.reshape(x, (b, h, 1, s, d)), (b, h, times, s, d))
    return p.reshape(wide, (b, h * times, s, d))


def _allowed(node: Node, queries: int, keys: int, past: int, lens: Array | None) -> Array:
    """Which keys a query may see, by position: bool, broadcastable to (B, heads, queries, keys)."""
    i, j = np.arange(queries)[:, None], np.arange(keys)[None, :]
    offset: Array | int = past
    if lens is not None and not past:
        offset = (lens.reshape(-1) - queries).reshape(-1, 1, 1, 1)
    seen = np.ones((1, 1, queries, keys), bool)
    if node.attr("is_causal"):
        seen = seen & (j <= i + offset)
    left, right = (node.attributes.get(f"{side}_window_size") for side in ("left", "right"))
    if left is not None and left >= 0:
        seen = seen & (j >= i + offset - left)
    if right is not None and right >= 0:
        seen = seen & (j <= i + offset + right)
    if lens is not None:
        seen = seen & (j < lens.reshape(-1, 1, 1, 1))
    return seen


@ORACLE.rule("Attention", since=23)
def _attention(
    node: Node, q: Value, k: Value, v: Value, mask: Value | None = None, past_k: Value | None = None,
    past_v: Value | None = None, lens: Value | None = None,
) -> tuple[Value, ...]:
    if node.attr("softmax_precision") not in (None, 1, 11):
        raise NotImplementedError("the oracle does not round the scores to half precision")
    flat = q.ndim == 3
    if flat:
        q = heads(q, node.attr("q_num_heads"))
        k, v = heads(k, node.attr("kv_num_heads")), heads(v, node.attr("kv_num_heads"))
    past = 0
    if past_k is not None and past_v is not None:
        past = past_k.shape[2]
        k, v = p.concat([past_k, k], 2), p.concat([past_v, v], 2)
    present = (k, v)
    groups = q.shape[1] // k.shape[1]
    wide_k, wide_v = repeated(k, groups), repeated(v, groups)
    given = node.attr("scale")
    root = math.sqrt(1.0 / math.sqrt(q.shape[-1]) if given is None else given)
    scores = p.matmul(p.mul(q, root), p.swap(p.mul(wide_k, root), 2, 3))
    raw, cap, mode = scores, node.attr("softcap"), node.attr("qk_matmul_output_mode") or 0
    if cap:
        scores = p.mul(p.unary(p.div(scores, cap), *CURVES["Tanh"]), cap)
    capped = scores
    seen = _allowed(node, q.shape[2], k.shape[2], past, None if lens is None else lens.array)
    if mask is not None:
        missing = k.shape[2] - mask.shape[-1]
        if mask.is_float:
            bias = p.pad(mask, [*[(0, 0)] * (mask.ndim - 1), (0, missing)], -np.inf)
            blocked = np.isneginf(bias.array)
            scores = p.add(scores, p.where(blocked, 0.0, bias))
            seen = seen & ~blocked
        else:
            seen = seen & np.pad(mask.array, [*[(0, 0)] * (mask.ndim - 1), (0, missing)])
    seen = np.broadcast_to(seen, scores.shape)
    biased = p.where(seen, scores, -np.inf)
    weights = _masked_softmax(scores, seen)
    y = p.matmul(weights, wide_v)
    if flat:
        y = p.transpose(y, (0, 2, 1, 3))
        y = p.reshape(y, (*y.shape[:2], -1))
    shown = (raw, capped, biased, weights)[mode]
    if mode == 0 and cap:
        shown = capped
    return y, *present, shown


def _masked_softmax(scores: Value, seen: Array) -> Value:
    """Softmax over the last axis of what may be seen; zeros in a row that sees nothing."""
    top = np.max(np.where(seen, scores.array, -np.inf), -1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    e = p.unary(p.where(seen, p.sub(scores, top), -np.inf), *CURVES["Exp"])
    total = p.total(e, (-1,), True)
    return p.div(e, p.where(total.array == 0, 1.0, total))
