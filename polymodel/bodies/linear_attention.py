"""LinearAttention: a state per head that grows by one outer product for each position, and is read by the queries.

The recurrence of the standard is written out position by position, in float32 as its reference does: a program is as
long as its sequences, which have to be of known length. `chunk_size` is a hint and changes nothing.
"""

from __future__ import annotations

import math
from typing import Any

from polymodel.bodies.table import BODIES, Body
from polymodel.errors import ShapeError
from polymodel.plan import Node


@BODIES.rule("LinearAttention", since=27)
def linear_attention(
    b: Body, node: Node, query: str, key: str, value: str, past: str | None = None, decay: str | None = None,
    beta: str | None = None,
) -> tuple[str, str]:  # fmt: skip
    """query (N, T, Hq * Dk), key (N, T, H * Dk), value (N, T, H * Dv), past (N, H, Dk, Dv), decay (N, T, H [* Dk]),
    beta (N, T, H or 1) -> output (N, T, Hq * Dv), present state (N, H, Dk, Dv)."""
    n, length, width = node.shape(0)
    readers, heads = int(node.attr("q_num_heads")), int(node.attr("kv_num_heads"))
    dk, dv = width // readers, node.dim(2, 2) // heads
    _check(node, heads, dk)
    group = readers // heads
    scale = float(node.attr("scale")) or 1 / math.sqrt(dk)
    # Position in front: one row per position is a slice of whole blocks.
    q = b.call("Mul", _rows(b, query, (n, length, heads, group, dk)), b.constant(scale, "float32"))
    k, v = _rows(b, key, (n, length, heads, dk, 1)), _rows(b, value, (n, length, heads, 1, dv))
    k_row = b.reshape(k, (length, n, heads, 1, dk))
    grows = decays = None
    if beta is not None:
        grows = _rows(b, beta, (n, length, node.dim(5, 2), 1, 1))
    if decay is not None:
        decays = b.call("Exp", _rows(b, decay, (n, length, heads, node.dim(4, 2) // heads, 1)))
    steps = [_split(b, x, length) for x in (q, k, v, k_row, grows, decays)]
    state = b.call("Expand", b.constant(0, "float32"), b.constant([n, heads, dk, dv], "int64"))
    if past is not None:
        state = b.cast(past, "float32")
    read = []
    for q_t, k_t, v_t, k_row_t, grow, fade in zip(*steps, strict=True):
        if fade is not None:
            state = b.call("Mul", state, fade)
        if grow is not None:
            v_t = b.call("Mul", grow, b.call("Sub", v_t, b.call("MatMul", k_row_t, state)))
        state = b.call("Add", state, b.call("Mul", k_t, v_t))
        read.append(b.call("Unsqueeze", b.call("MatMul", q_t, state), b.constant([1], "int64")))
    output = b.call("Concat", *read, axis=1) if read else b.constant(_empty(n, readers, dv))
    output = b.cast(b.reshape(output, (n, length, readers * dv)), node.dtype(0))
    return output, b.cast(state, node.dtype(0 if past is None else 3))


def _empty(n: int, readers: int, dv: int) -> Any:
    import numpy as np

    return np.zeros((n, 0, readers, dv), np.float32)


def _check(node: Node, heads: int, dk: int) -> None:
    rule = str(node.attr("update_rule"))
    for i, name, rules in ((4, "decay", ("gated", "gated_delta")), (5, "beta", ("delta", "gated_delta"))):
        if node.has_input(i) != (rule in rules):
            raise ShapeError(f"{node}: update_rule {rule!r} {'needs' if rule in rules else 'takes no'} input {name!r}")
    if node.has_input(4) and node.dim(4, 2) not in (heads, heads * dk):
        raise ShapeError(f"{node}: decay has {node.dim(4, 2)} columns, expected {heads} or {heads * dk}")


def _rows(b: Body, x: str, shape: tuple[int, ...]) -> str:
    """x (N, T, columns) as (T, N, ...) in float32, for `shape` (N, T, ...)."""
    split = b.reshape(b.cast(x, "float32"), shape)
    return b.call("Transpose", split, perm=[1, 0, *range(2, len(shape))])


def _split(b: Body, x: str | None, length: int) -> list[str | None]:
    """One value per position; None where there is nothing to split."""
    if x is None or length == 0:
        return [None] * length
    shape = [int(d) for d in b.spec(x).shape if isinstance(d, int)][1:]
    parts = b.calls("Split", x, outputs=length, axis=0, num_outputs=length) if length > 1 else (x,)
    return [b.reshape(part, shape) for part in parts]
