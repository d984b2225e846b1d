"""Matrix products and einsum."""

from __future__ import annotations

import numpy as np

from polymodel.plan import Node
from polymodel_conformance.oracle import primitives as p
from polymodel_conformance.oracle.table import ORACLE
from polymodel_conformance.oracle.tape import Array, Tape, Value


@ORACLE.rule("MatMul", since=1)
def _matmul(node: Node, a: Value, b: Value) -> Value:
    if not a.is_float:
        return a.tape.value(np.matmul(a.array, b.array))
    return p.matmul(a, b)


@ORACLE.rule("Gemm", since=1)
def _gemm(node: Node, a: Value, b: Value, c: Value | None = None) -> Value:
    a = p.transpose(a, (1, 0)) if node.attr("transA") else a
    b = p.transpose(b, (1, 0)) if node.attr("transB") else b
    y = p.matmul(a, b)
    y = y if node.attr("alpha") == 1 else p.mul(y, node.attr("alpha"))
    if c is None:
        return y
    return p.add(y, c if node.attr("beta") == 1 else p.mul(c, node.attr("beta")))


@ORACLE.rule("Einsum", since=12)
def _einsum(node: Node, *xs: Value) -> Value:
    left, _, right = node.attr("equation").replace(" ", "").partition("->")
    terms = left.split(",")
    if "->" not in node.attr("equation"):
        letters = left.replace(",", "").replace("...", "")
        right = ("..." if "..." in left else "") + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    terms, right, xs = _name_ellipsis(terms, right, xs)
    t = xs[0].tape
    arrays = [x.array for x in xs]
    y = _contract(t, terms, arrays, right)

    def vjp(g: Array) -> list[Array]:
        out = []
        for i, x in enumerate(xs):
            others = [*terms[:i], *terms[i + 1 :]]
            wanted = "".join(dict.fromkeys(terms[i]))
            present = set("".join((*others, right)))
            missing = [c for c in wanted if c not in present]
            operands = [*arrays[:i], *arrays[i + 1 :], g, *(np.ones(x.shape[terms[i].index(c)]) for c in missing)]
            part = _contract(t, [*others, right, *missing], operands, wanted)
            out.append(_diagonal(part, wanted, terms[i], x.shape))
        return out

    return t.push(y, tuple(xs), vjp)


def _name_ellipsis(terms: list[str], right: str, xs: tuple[Value, ...]) -> tuple[list[str], str, tuple[Value, ...]]:
    if not any("..." in s for s in terms):
        return terms, right, xs
    used = set("".join((*terms, right)))
    spare = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in used]
    ranks = [x.ndim - len(s.replace("...", "")) if "..." in s else 0 for s, x in zip(terms, xs, strict=True)]
    names = "".join(spare[: max(ranks)])
    sizes: dict[str, int] = {}
    for s, x, r in zip(terms, xs, ranks, strict=True):
        for c, n in zip(names[len(names) - r :], x.shape[s.index("...") : s.index("...") + r] if r else (), strict=True):
            sizes[c] = max(sizes.get(c, 1), n)
    new_terms, new_xs = [], []
    for s, x, r in zip(terms, xs, ranks, strict=True):
        mine = names[len(names) - r :] if r else ""
        full = s.replace("...", mine)
        new_terms.append(full)
        new_xs.append(p.broadcast(x, [sizes.get(c, n) if c in names else n for c, n in zip(full, x.shape, strict=True)]))
    return new_terms, right.replace("...", names), tuple(new_xs)


def _contract(t: Tape, terms: list[str], arrays: list[Array], right: str) -> Array:
    equation = f"{','.join(terms)}->{right}"
    y = np.asarray(np.einsum(equation, *arrays, optimize=True))
    if t.noise is None:
        return y
    squares = np.asarray(np.einsum(equation, *(np.square(a) for a in arrays), optimize=True))
    sizes = {c: n for s, a in zip(terms, arrays, strict=True) for c, n in zip(s, a.shape, strict=True)}
    n = int(np.prod([v for c, v in sizes.items() if c not in right], dtype=np.int64))
    return t.rounded(t.noise.reduced(y, squares, n))


def _diagonal(part: Array, letters: str, term: str, shape: tuple[int, ...]) -> Array:
    """Put the derivative of a repeated index (a diagonal or trace) back on the diagonal."""
    if letters == term:
        return part
    out = np.zeros(shape)
    grid = np.meshgrid(*(np.arange(shape[term.index(c)]) for c in letters), indexing="ij")
    place = dict(zip(letters, grid, strict=True))
    out[tuple(place[c] for c in term)] = part
    return out
