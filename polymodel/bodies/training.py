"""One step of an optimizer as an operator (domain ai.onnx.preview.training): Adagrad, Adam, Momentum.

Inputs are the learning rate R, the number of steps done T, and then all tensors, all gradients and all slots; results
are all new tensors and all new slots. Formulas: the documentation of the operators in the standard. Coefficients that
depend on attributes only are computed in double precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from polymodel.bodies.table import BODIES, Body
from polymodel.plan import Node

_DOMAIN = "ai.onnx.preview.training"


def _groups(names: tuple[str, ...], kinds: int) -> list[tuple[str, ...]]:
    """(x1, x2, g1, g2, ...) as [(x1, g1, ...), (x2, g2, ...)]."""
    count = len(names) // kinds
    return [names[i::count] for i in range(count)]


def _joined(results: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(name for kind in zip(*results, strict=True) for name in kind)


def _regularized(b: Body, node: Node, x: str, g: str) -> str:
    """The gradient of the loss plus norm_coefficient / 2 * ||x||^2."""
    factor = float(node.attr("norm_coefficient"))
    return g if factor == 0 else b.call("Add", _times(b, x, factor), g)


def _times(b: Body, x: str, factor: float) -> str:
    return b.call("Mul", x, b.constant(factor, b.spec(x).dtype))


def _plus(b: Body, x: str, term: float) -> str:
    return b.call("Add", x, b.constant(term, b.spec(x).dtype))


def _positive(b: Body, t: str) -> str:
    return b.call("Greater", t, b.constant(0, b.spec(t).dtype))


@BODIES.rule("Adagrad", since=1, domain=_DOMAIN)
def adagrad(b: Body, node: Node, rate: str, t: str, *tensors: str) -> tuple[str, ...]:
    results = []
    for x, g, h in _groups(tensors, 3):
        dtype = b.spec(x).dtype
        decay = _plus(b, _times(b, b.cast(t, dtype), float(node.attr("decay_factor"))), 1.0)
        r = b.call("Div", b.cast(rate, dtype), decay)
        g = _regularized(b, node, x, g)
        h = b.call("Add", h, b.call("Mul", g, g))
        root = _plus(b, b.call("Sqrt", h), float(node.attr("epsilon")))
        results.append((b.call("Sub", x, b.call("Div", b.call("Mul", r, g), root)), h))
    return _joined(results)


@BODIES.rule("Adam", since=1, domain=_DOMAIN)
def adam(b: Body, node: Node, rate: str, t: str, *tensors: str) -> tuple[str, ...]:
    alpha, beta = float(node.attr("alpha")), float(node.attr("beta"))
    results = []
    for x, g, v, h in _groups(tensors, 4):
        times, dtype = partial(_times, b), b.spec(x).dtype
        g = _regularized(b, node, x, g)
        v = b.call("Add", times(v, alpha), times(g, 1 - alpha))
        h = b.call("Add", times(h, beta), times(b.call("Mul", g, g), 1 - beta))
        root = _plus(b, b.call("Sqrt", h), float(node.attr("epsilon")))
        step = b.call("Mul", _corrected(b, rate, t, alpha, beta, dtype), b.call("Div", v, root))
        x = b.call("Sub", x, step)
        post = float(node.attr("norm_coefficient_post"))
        results.append((x if post == 0 else times(x, 1 - post), v, h))
    return _joined(results)


def _corrected(b: Body, rate: str, t: str, alpha: float, beta: float, dtype: str) -> str:
    """R * sqrt(1 - beta^T) / (1 - alpha^T) where T > 0, else R."""
    rate = b.cast(rate, dtype)
    steps = b.cast(b.call("Max", t, b.constant(1, b.spec(t).dtype)), dtype)  # with 0 the unused branch is 0 / 0
    root, divisor = (
        b.call("Sub", b.constant(1, dtype), b.call("Pow", b.constant(c, dtype), steps)) for c in (beta, alpha)
    )
    factor = b.call("Div", b.call("Sqrt", root), divisor)
    return b.call("Where", _positive(b, t), b.call("Mul", rate, factor), rate)


@BODIES.rule("Momentum", since=1, domain=_DOMAIN)
def momentum(b: Body, node: Node, rate: str, t: str, *tensors: str) -> tuple[str, ...]:
    alpha, beta = float(node.attr("alpha")), float(node.attr("beta"))
    results = []
    for x, g, v in _groups(tensors, 3):
        dtype = b.spec(x).dtype
        g = _regularized(b, node, x, g)
        scale = b.call("Where", _positive(b, t), b.constant(np.asarray(beta), dtype), b.constant(1.0, dtype))
        v = b.call("Add", _times(b, v, alpha), b.call("Mul", scale, g))
        way = b.call("Add", g, _times(b, v, alpha)) if node.attr("mode") == "nesterov" else v
        results.append((b.call("Sub", x, b.call("Mul", b.cast(rate, dtype), way)), v))
    return _joined(results)
