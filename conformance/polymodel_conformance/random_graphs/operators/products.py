"""Calls that multiply and sum: matrices, Einstein sums."""

from __future__ import annotations

from polymodel.tensor import Tensor
from polymodel_conformance.random_graphs.operators.elementwise import beside
from polymodel_conformance.random_graphs.sketch import Sketch


def matmul(s: Sketch) -> Tensor:
    x = s.take(rank=(2, 3, 4, 1))
    sizes = s.sizes(x)
    if s.c.below(2):
        batch = list(sizes[:-2])
        kind = s.c.below(4)
        batch = [] if kind == 0 else [1 if s.c.below(2) else n for n in batch] if kind == 1 else batch
        shape = (sizes[-1],) if s.c.chance(15) else (*batch, sizes[-1], s.size())
        return s.op("MatMul", x, s.leaf(shape))
    inner = sizes[-2] if x.rank > 1 else sizes[0]
    batch = list(sizes[:-2]) if s.c.below(2) else []
    return s.op("MatMul", s.leaf((inner,) if s.c.chance(15) else (*batch, s.size(), inner)), x)


def gemm(s: Sketch) -> Tensor:
    x = s.take(rank=2)
    rows, inner = s.sizes(x)
    trans_a, trans_b = s.c.below(2), s.c.below(2)
    if trans_a:
        rows, inner = inner, rows
    columns = s.size()
    w = s.leaf((columns, inner) if trans_b else (inner, columns))
    shapes = ((columns,), (rows, columns), (1, columns), (rows, 1), (), (1,))
    bias = s.leaf(s.c.of(shapes)) if s.c.below(4) else None
    numbers = {k: s.c.of((1.0, 0.5, 2.0, 0.0)) for k in ("alpha", "beta")} if s.c.below(2) else {}
    return s.op("Gemm", x, w, bias, transA=trans_a, transB=trans_b, **numbers)


def einsum(s: Sketch) -> Tensor:
    x = s.take(rank=(2, 3))
    n = s.sizes(x)
    words: tuple[tuple[str, tuple[int, ...]], ...]
    if x.rank == 2:
        words = (("ij->ji", ()), ("ij->i", ()), ("ij,jk->ik", (n[1], s.size())), ("ij,kj->ik", (s.size(), n[1])), ("ij,ij->", n))
    else:
        words = (
            ("bij->bji", ()), ("bij,bjk->bik", (n[0], n[2], s.size())), ("bij,bkj->bik", (n[0], s.size(), n[2])),
            ("bij->ij", ()), ("bij,jk->bik", (n[2], s.size())),
        )
    equation, other = s.c.of(words)
    return s.op("Einsum", x, *([s.leaf(other)] if other else []), equation=equation)


def attention(s: Sketch) -> Tensor:
    batch, heads, length, width = 1 + s.c.below(2), 1 + s.c.below(3), s.size(), 2 + s.c.below(3)
    keys = s.size()
    if 0 in (length, keys):
        keys = length = 2
    q = s.leaf((batch, heads, length, width))
    k, v = s.leaf((batch, heads, keys, width)), s.leaf((batch, heads, keys, 1 + s.c.below(4)))
    return s.op("Attention", q, k, v, is_causal=s.c.below(2))


def residual(s: Sketch) -> Tensor:
    x = s.take(rank=(2, 3))
    n = s.sizes(x)[-1]
    return s.op("Add", beside(s, x), s.op("MatMul", x, s.leaf((n, n))))


ROWS = ((10, matmul), (6, gemm), (3, einsum), (1, attention), (2, residual))
