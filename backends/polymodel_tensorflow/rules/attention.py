"""Scaled dot-product attention."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from polymodel.plan import Node
from polymodel_tensorflow.compat import tf
from polymodel_tensorflow.dtypes import dtype_of_onnx
from polymodel_tensorflow.rules.elementwise import NARROW, softmax_of
from polymodel_tensorflow.rules.table import TABLE, sizes


@TABLE.rule("Attention", since=23)
def attention(
    node: Node,
    q: Any,
    k: Any,
    v: Any,
    mask: Any = None,
    past_k: Any = None,
    past_v: Any = None,
    valid: Any = None,
) -> tuple[Any, Any, Any, Any]:
    """All inputs and attributes of the standard; a query that may attend to nothing gives a row of zeros.

    float16 scales both factors of the first product by the root of the scale, as the standard advises against
    overflow; wider types scale the queries.
    """
    flat = node.rank(0) == 3
    if flat:
        q = _heads(q, int(node.attr("q_num_heads")))
        k, v = (_heads(x, int(node.attr("kv_num_heads"))) for x in (k, v))
    if past_k is not None:
        k, v = tf.concat([past_k, k], 2), tf.concat([past_v, v], 2)
    present_k, present_v = k, v
    repeats = 1 if flat and q.shape[1] == k.shape[1] else q.shape[1] // k.shape[1] if flat else node.dim(0, 1) // node.dim(1, 1)
    if repeats > 1:
        k, v = tf.repeat(k, repeats, 1), tf.repeat(v, repeats, 1)
    scores = _scores(node, q, k)
    raw = scores
    cap = float(node.attr("softcap") or 0)
    if cap:
        limit = tf.cast(cap, scores.dtype)
        scores = limit * tf.tanh(scores / limit)
    capped = scores
    bias = _bias(node, q, k, mask, past_k, valid)
    if bias is not None:
        scores = scores + bias
    precision = node.attr("softmax_precision")
    wide = scores if precision is None else tf.cast(scores, dtype_of_onnx(int(precision)))
    weights = tf.cast(_softmax(wide, bias), q.dtype)
    y = _product(weights, v)
    if flat:
        n, heads, length, size = sizes(y)
        y = tf.reshape(tf.transpose(y, [0, 2, 1, 3]), [n, length, heads * size])
    if not any(node.has_output(i) for i in (1, 2, 3)):
        return y, None, None, None
    shown = (raw, capped, scores, weights)[int(node.attr("qk_matmul_output_mode") or 0)]
    return y, present_k, present_v, shown


def _heads(x: Any, heads: int) -> Any:
    """(N, length, heads * size) as (N, heads, length, size)."""
    n, length, width = sizes(x)
    return tf.transpose(tf.reshape(x, [n, length, heads, width // heads]), [0, 2, 1, 3])


def _scores(node: Node, q: Any, k: Any) -> Any:
    given = node.attr("scale")
    scale = float(given) if given is not None else 1 / math.sqrt(q.shape[-1])
    if q.dtype in NARROW:
        root = tf.constant(math.sqrt(scale), q.dtype)
        return _product(q * root, k * root, transpose=True)
    return _product(q * tf.constant(scale, q.dtype), k, transpose=True)


def _product(a: Any, b: Any, *, transpose: bool = False) -> Any:
    """Products of narrow types are accumulated in float32: TensorFlow's CPU kernels accumulate in the type itself."""
    if a.dtype in NARROW:
        wide = tf.matmul(tf.cast(a, tf.float32), tf.cast(b, tf.float32), transpose_b=transpose)
        return tf.cast(wide, a.dtype)
    return tf.matmul(a, b, transpose_b=transpose)


def _softmax(scores: Any, bias: Any) -> Any:
    """Softmax of the last axis; rows whose bias is -inf throughout are zero, and so is their derivative."""
    if bias is None:
        return softmax_of(scores)
    dead = tf.reduce_all(tf.equal(bias, tf.constant(-np.inf, bias.dtype)), -1, keepdims=True)
    safe = tf.where(dead, tf.zeros_like(scores), scores)
    return tf.where(dead, tf.zeros_like(scores), softmax_of(safe))


def _bias(node: Node, q: Any, k: Any, mask: Any, past_k: Any, valid: Any) -> Any:
    """What is added to the scores: the mask, the causal frontier, the window and the padding; None for nothing."""
    queries, keys = sizes(q)[2], sizes(k)[2]
    parts = []
    if mask is not None:
        missing = keys - sizes(mask)[-1]
        if mask.dtype == tf.bool:
            mask = _minus_infinity_unless(mask, q.dtype)
        if not isinstance(missing, int) or missing > 0:
            widths = [[0, 0]] * (len(mask.shape) - 1) + [[0, missing]]
            mask = tf.pad(mask, widths, constant_values=-np.inf)
        parts.append(mask)
    allowed = _allowed(node, queries, keys, past_k, valid)
    if allowed is not None:
        parts.append(_minus_infinity_unless(allowed, q.dtype))
    if valid is not None:
        inside = tf.range(keys, dtype=tf.int64)[None, None, None, :] < tf.reshape(valid, [-1, 1, 1, 1])
        parts.append(_minus_infinity_unless(inside, q.dtype))
    bias = None
    for part in parts:
        bias = part if bias is None else bias + part
    return bias


def _allowed(node: Node, queries: Any, keys: Any, past_k: Any, valid: Any) -> Any:
    """Which keys each query may see by its position; None for all."""
    left, right = (int(-1 if node.attr(n) is None else node.attr(n)) for n in ("left_window_size", "right_window_size"))
    causal = bool(node.attr("is_causal"))
    if not causal and left < 0 and right < 0:
        return None
    i = tf.range(queries, dtype=tf.int64)[:, None]
    j = tf.range(keys, dtype=tf.int64)[None, :]
    if past_k is not None:
        i = i + tf.shape(past_k, out_type=tf.int64)[2]
    elif valid is not None:
        i = i + (tf.reshape(tf.cast(valid, tf.int64), [-1, 1, 1, 1]) - tf.cast(queries, tf.int64))
    allowed = j <= i if causal else tf.equal(i - i, j - j)
    if left >= 0:
        allowed = tf.logical_and(allowed, i - j <= left)
    if right >= 0:
        allowed = tf.logical_and(allowed, j - i <= right)
    return allowed


def _minus_infinity_unless(allowed: Any, dtype: Any) -> Any:
    return tf.where(allowed, tf.constant(0, dtype), tf.constant(-np.inf, dtype))


@TABLE.rule("RotaryEmbedding", since=23)
def rotary_embedding(node: Node, x: Any, cosines: Any, sines: Any, positions: Any = None) -> Any:
    """Rotates pairs of elements of each head by angles that grow with the position."""
    flat = node.rank(0) == 3
    if flat:
        n, length, width = sizes(x)
        heads = int(node.attr("num_heads"))
        turned = tf.reshape(x, [n, length, heads, width // heads])
    else:
        turned = tf.transpose(x, [0, 2, 1, 3])
    if positions is not None:
        cosines, sines = tf.gather(cosines, positions), tf.gather(sines, positions)
    cosines, sines = cosines[:, :, None, :], sines[:, :, None, :]
    reach = int(node.attr("rotary_embedding_dim") or 0) or turned.shape[-1]
    part, rest = turned[..., :reach], turned[..., reach:]
    if node.attr("interleaved"):
        a, b = part[..., 0::2], part[..., 1::2]
    else:
        a, b = tf.split(part, 2, -1)
    real, imaginary = cosines * a - sines * b, sines * a + cosines * b
    if node.attr("interleaved"):
        part = tf.reshape(tf.stack([real, imaginary], -1), tf.shape(part))
    else:
        part = tf.concat([real, imaginary], -1)
    y = tf.concat([part, rest], -1)
    return tf.reshape(y, tf.shape(x)) if flat else tf.transpose(y, [0, 2, 1, 3])
