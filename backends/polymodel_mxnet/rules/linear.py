"""Products: MatMul, Gemm, Einsum and the fused Linear.

`_npx_fully_connected` (oneDNN) multiplies by a matrix, `batch_dot` multiplies stacks. `_npi_matmul` and `_npi_einsum`
are avoided: their gradients are wrong for some broadcast stacks and for scalar results. Integers are multiplied
one by one (integers.py), large stacks of them in float64 (exact up to 2^53), float16 in float32.
"""

from __future__ import annotations

import numpy as np

from polymodel.cofactors import LARGEST, minors
from polymodel.plan import Node
from polymodel_mxnet.rules.integers import integer_product
from polymodel_mxnet.rules.table import TABLE
from polymodel_mxnet.symbols import (
    Symbol,
    broadcast,
    cast,
    concat,
    constant,
    current_trace,
    cut,
    is_fixed,
    op,
    reshape,
    surely_differentiated,
    transpose,
)

_WORK = {"float32": "float32", "float64": "float64", "float16": "float32"}


def work_type(kind: str) -> str:
    """The element type in which products are computed."""
    return _WORK.get(kind, "float64")


def to_work(x: Symbol, kind: str) -> Symbol:
    """An operand in the type of the computation."""
    return x if work_type(kind) == kind else cast(x, work_type(kind))


def from_work(x: Symbol, kind: str) -> Symbol:
    """A result in the type of the operands."""
    return x if work_type(kind) == kind else cast(x, kind)


def dense(x: Symbol, weight: Symbol, units: int, bias: Symbol = None) -> Symbol:
    """x (..., in) times weight (units, in) transposed, plus bias (units,).

    oneDNN's kernel writes the derivative by the bias together with that by the weight: where nobody takes that one, it
    is left as the memory was. The bias is then added by an operator of its own.
    """
    if bias is not None and current_trace().purpose != "predict" and not (is_fixed(bias) or surely_differentiated(weight)):
        return op("_npi_add", dense(x, weight, units), bias)
    inputs = (x, weight) if bias is None else (x, weight, bias)
    return op("_npx_fully_connected", *inputs, num_hidden=units, no_bias=bias is None, flatten=False)


def product(a: Symbol, b: Symbol, left: tuple[int, ...], right: tuple[int, ...]) -> Symbol:
    """NumPy's matmul of operands with at least two axes, none of them empty."""
    if len(right) == 2:
        return dense(a, transpose(b, (1, 0)), right[1])
    batch = np.broadcast_shapes(left[:-2], right[:-2])
    count = int(np.prod(batch))

    def stack(x: Symbol, shape: tuple[int, ...]) -> Symbol:
        full = (*batch, *shape[-2:])
        return reshape(x if shape == full else broadcast(x, full), (count, *shape[-2:]))

    return reshape(op("batch_dot", stack(a, left), stack(b, right)), (*batch, left[-2], right[-1]))


@TABLE.rule("MatMul", since=1)
def matmul(node: Node, a: Symbol, b: Symbol) -> Symbol:
    kind, left, right, out = node.dtype(), node.shape(0), node.shape(1), node.out_shape()
    if 0 in left or 0 in right:
        return constant(np.zeros(out, kind))
    if len(left) == 1:
        a, left = reshape(a, (1, *left)), (1, *left)
    if len(right) == 1:
        b, right = reshape(b, (*right, 1)), (*right, 1)
    if kind in ("int32", "int64") and (exact := integer_product(a, b, left, right)) is not None:
        return reshape(exact, out)
    return reshape(from_work(product(to_work(a, kind), to_work(b, kind), left, right), kind), out)


@TABLE.rule("Gemm", since=7)
def gemm(node: Node, a: Symbol, b: Symbol, c: Symbol = None) -> Symbol:
    kind, out = node.dtype(), node.out_shape()
    work = work_type(kind)
    scale, share = float(node.attr("alpha")), float(node.attr("beta"))
    c = None if c is None or share == 0.0 else to_work(c, kind)
    simple = scale == 1.0 and share == 1.0 and c is not None and node.shape(2) == out[1:]
    if 0 in node.shape(0):
        y = constant(np.zeros(out, work))
        simple = False
    else:
        left = transpose(a, (1, 0)) if node.attr("transA") else a
        right = b if node.attr("transB") else transpose(b, (1, 0))
        y = dense(to_work(left, kind), to_work(right, kind), out[1], c if simple else None)
        y = y if scale == 1.0 else y * scale
    if c is not None and not simple:
        y = op("_npi_add", y, c if share == 1.0 else c * share)
    return from_work(y, kind)


@TABLE.rule("Linear", since=1, domain="polymodel")
def linear(node: Node, x: Symbol, weight: Symbol, bias: Symbol = None) -> Symbol:
    kind, transposed = node.dtype(), bool(node.attr("transB"))
    if node.dim(1, 1 if transposed else 0) == 0:
        zero = constant(np.zeros(node.out_shape(), kind))
        return zero if bias is None else op("_npi_add", zero, bias)
    bias = None if bias is None else to_work(bias, kind)
    weight = weight if transposed else transpose(weight, (1, 0))
    return from_work(dense(to_work(x, kind), to_work(weight, kind), node.out_shape()[-1], bias), kind)


@TABLE.rule("Einsum", since=12)
def einsum(node: Node, *inputs: Symbol) -> Symbol:
    kind = node.dtype()
    if any(0 in node.shape(i) for i in range(len(inputs))):
        return constant(np.zeros(node.out_shape(), kind))
    terms, result = _explicit(str(node.attr("equation")), [node.rank(i) for i in range(len(inputs))])
    sizes: dict[str, int] = {}
    for i, term in enumerate(terms):
        for letter, size in zip(term, node.shape(i), strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    operands = []
    for i, (term, x) in enumerate(zip(terms, inputs, strict=True)):
        full = tuple(sizes[c] for c in term)
        operands.append((to_work(x if node.shape(i) == full else broadcast(x, full), kind), term))
    y, term = _diagonal(*operands[0], sizes, work_type(kind))
    for i, (x, other) in enumerate(operands[1:], 2):
        needed = set(result).union(*(t for _, t in operands[i:]))
        y, term = _contract(y, term, *_diagonal(x, other, sizes, work_type(kind)), needed, sizes)
    y, term = _sum_out(y, term, set(result))
    return from_work(transpose(y, [term.index(c) for c in result]) if result else y, kind)


def _explicit(equation: str, ranks: list[int]) -> tuple[list[str], str]:
    """Terms and result with a letter for each axis: "..." becomes letters, and a missing result is made."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    free = [chr(c) for c in range(0x3B1, 0x3B1 + 16)]
    widest = max((r - len(t.replace("...", "")) for r, t in zip(ranks, terms, strict=True) if "..." in t), default=0)
    dots = "".join(free[:widest])
    filled = []
    for rank, term in zip(ranks, terms, strict=True):
        width = rank - len(term.replace("...", ""))
        filled.append(term.replace("...", dots[widest - width :]) if "..." in term else term)
    if not arrow:
        letters = "".join(filled)
        once = sorted(c for c in set(letters) if letters.count(c) == 1 and c not in dots)
        return filled, (dots if "..." in left else "") + "".join(once)
    return filled, right.replace("...", dots)


def _diagonal(x: Symbol, term: str, sizes: dict[str, int], kind: str) -> tuple[Symbol, str]:
    """Take the diagonal of axes with the same letter."""
    for letter in dict.fromkeys(term):
        while term.count(letter) > 1:
            i, j = [k for k, c in enumerate(term) if c == letter][:2]
            shape = [1] * len(term)
            shape[i] = shape[j] = sizes[letter]
            mask = constant(np.eye(sizes[letter], dtype=kind).reshape(shape))
            x, term = op("_np_sum", x * mask, axis=(j,)), term[:j] + term[j + 1 :]
    return x, term


def _sum_out(x: Symbol, term: str, keep: set[str]) -> tuple[Symbol, str]:
    """Sum over the axes whose letters nobody needs."""
    axes = tuple(i for i, c in enumerate(term) if c not in keep)
    return (op("_np_sum", x, axis=axes), "".join(c for c in term if c in keep)) if axes else (x, term)


def _contract(
    a: Symbol, left: str, b: Symbol, right: str, needed: set[str], sizes: dict[str, int]
) -> tuple[Symbol, str]:
    """Contract two operands by one stacked product."""
    a, left = _sum_out(a, left, needed | set(right))
    b, right = _sum_out(b, right, needed | set(left))
    both = [c for c in left if c in right]
    batch, inner = [c for c in both if c in needed], [c for c in both if c not in needed]
    rows, columns = [c for c in left if c not in right], [c for c in right if c not in left]

    def count(letters: list[str]) -> int:
        return int(np.prod([sizes[c] for c in letters], dtype=np.int64))

    x = reshape(transpose(a, [left.index(c) for c in (*batch, *rows, *inner)]), (count(batch), count(rows), count(inner)))
    y = reshape(
        transpose(b, [right.index(c) for c in (*batch, *inner, *columns)]), (count(batch), count(inner), count(columns))
    )
    letters = [*batch, *rows, *columns]
    return reshape(op("batch_dot", x, y), [sizes[c] for c in letters]), "".join(letters)


__all__ = ["dense", "from_work", "product", "to_work", "work_type"]


@TABLE.rule("Det", since=11)
def det(node: Node, x: Symbol) -> Symbol:
    """MXNet's own derivative divides by the determinant, which raises for singular matrices. It is the matrix of cofactors, here in
    float64. It enters as a factor of x - x, which is zero and has a derivative."""
    kind, (*batch, size, _) = node.dtype(), node.shape()
    if size == 0 or 0 in batch:
        return constant(np.ones(batch, kind))
    count = int(np.prod(batch, dtype=np.int64))
    x = reshape(to_work(x, kind), (count, size, size))
    fixed = op("BlockGrad", x)
    cofactors = cast(_cofactors(cast(fixed, "float64"), count, size), "float64" if kind == "float64" else "float32")
    slope = op("_np_sum", op("BlockGrad", cofactors) * (x - fixed), axis=(1, 2))
    return from_work(reshape(op("BlockGrad", _determinant(fixed)) + slope, tuple(batch)), kind)


def _cofactors(x: Symbol, count: int, size: int) -> Symbol:
    """By elimination of every minor; above LARGEST rows det(U) det(V) U diag(products of the other singular values) V^T for
    x = U diag(s) V^T."""
    if size < 2:
        return op("ones_like", x)
    if size <= LARGEST:
        places, signs = minors(size)
        parts = op("take", reshape(x, (count, size * size)), constant(places.astype(np.int32)), axis=1)
        found = _determinant(reshape(parts, (count * size * size, size - 1, size - 1)))
        return op("broadcast_mul", reshape(found, (count, size, size)), constant(signs[None]))
    u, s, v = op("_npi_svd", x)
    columns = [cut(s, 1, i, i + 1) for i in range(size)]
    before, after = [None] * size, [None] * size
    for i in range(1, size):
        before[i] = columns[i - 1] if i == 1 else before[i - 1] * columns[i - 1]
        after[-1 - i] = columns[-i] if i == 1 else after[-i] * columns[-i]
    others = [b * a if b is not None and a is not None else b if a is None else a for b, a in zip(before, after, strict=True)]
    sign = reshape(_determinant(u) * _determinant(v), (count, 1))
    return op("batch_dot", u * reshape(concat(others, 1) * sign, (count, 1, size)), v)


def _determinant(x: Symbol) -> Symbol:
    return op("_npi_det", x)
