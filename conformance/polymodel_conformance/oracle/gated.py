"""Gated activations and recurrences of language models: SwiGLU, CausalConvWithState, LinearAttention."""

from __future__ import annotations

import math

import numpy as np

from polymodel.plan import Node
from polymodel_conformance.oracle import primitives as p
from polymodel_conformance.oracle.attention import heads, repeated
from polymodel_conformance.oracle.curves import CURVES
from polymodel_conformance.oracle.table import ORACLE
from polymodel_conformance.oracle.tape import Value


def swish(x: Value, alpha: float = 1.0) -> Value:
    """x * sigmoid(alpha x)."""
    return p.mul(x, p.unary(p.mul(x, alpha), *CURVES["Sigmoid"]))


@ORACLE.rule("SwiGLU", since=28)
def _swiglu(node: Node, gate: Value, x: Value) -> Value:
    return p.mul(swish(gate, node.attr("alpha")), x)


@ORACLE.rule("CausalConvWithState", since=27)
def _causal_conv(
    node: Node, x: Value, weight: Value, bias: Value | None = None, past: Value | None = None
) -> tuple[Value, Value]:
    k, length = weight.shape[-1], x.shape[-1]
    wide = p.pad(x, [(0, 0), (0, 0), (k - 1, 0)]) if past is None else p.concat([past, x], 2)
    index = np.arange(length)[:, None] + np.arange(k)
    flat = np.arange(wide.array.size).reshape(wide.shape)[..., index]
    terms = p.mul(p.take(wide, flat), p.reshape(weight, (1, -1, 1, k)))
    y = p.total(terms, (-1,))
    if bias is not None:
        y = p.add(y, p.reshape(bias, (1, -1, 1)))
    if node.attr("activation") in ("silu", "swish"):
        y = swish(y)
    return y, p.pick(wide, (slice(None), slice(None), slice(wide.shape[-1] - k + 1, None)))


@ORACLE.rule("LinearAttention", since=27)
def _linear_attention(
    node: Node, q: Value, k: Value, v: Value, past: Value | None = None, decay: Value | None = None,
    beta: Value | None = None,
) -> tuple[Value, Value]:
    queries, stores = int(node.attr("q_num_heads")), int(node.attr("kv_num_heads"))
    q, k, v = heads(q, queries), heads(k, stores), heads(v, stores)
    b, _, steps, width = q.shape
    scale = node.attr("scale") or 1.0 / math.sqrt(width)
    rule = node.attr("update_rule")
    gates = p.unary(heads(decay, stores), *CURVES["Exp"]) if decay is not None and "gated" in rule else None
    rates = heads(beta, beta.shape[-1]) if beta is not None and "delta" in rule else None
    state = q.tape.value(np.zeros((b, stores, width, v.shape[-1]))) if past is None else past
    outs = []
    for i in range(steps):
        key, value = p.pick(k, (..., slice(i, i + 1), slice(None))), p.pick(v, (..., slice(i, i + 1), slice(None)))  # type: ignore[arg-type]
        if gates is not None:
            state = p.mul(state, p.swap(p.pick(gates, (..., slice(i, i + 1), slice(None))), 2, 3))  # type: ignore[arg-type]
        if rates is not None:
            rate = p.pick(rates, (..., slice(i, i + 1), slice(None)))  # type: ignore[arg-type]
            value = p.mul(p.sub(value, p.matmul(key, state)), rate)
        state = p.add(state, p.mul(p.swap(key, 2, 3), value))
        query = p.pick(q, (..., slice(i, i + 1), slice(None)))  # type: ignore[arg-type]
        outs.append(p.mul(p.matmul(query, repeated(state, queries // stores)), scale))
    y = p.transpose(p.concat(outs, 2), (0, 2, 1, 3)) if outs else q.tape.value(np.zeros((b, 0, queries, v.shape[-1])))
    return p.reshape(y, (b, steps, queries * v.shape[-1])), state
