"""Random operators. MXNet's own generator has one state for all of them, so a call with a seed draws from NumPy's.

A program that is compiled again draws the same numbers, run for run; every run draws others.
"""

from __future__ import annotations

from itertools import count

import numpy as np

from polymodel import random
from polymodel.plan import Node
from polymodel_mxnet.rules.table import TABLE
from polymodel_mxnet.symbols import Draw, Symbol, cast, constant, fresh, op


@TABLE.rule("Dropout", since=7)
def dropout(node: Node, x: Symbol, ratio: Symbol = None, training: Symbol = None) -> Symbol | tuple[Symbol, Symbol]:
    rate = float(node.const(1).reshape(())) if node.has_input(1) else 0.5
    on = bool(node.const(2).reshape(())) if node.has_input(2) else False
    if not on or rate == 0.0:
        return x, constant(np.ones(node.shape(), bool))
    ones = constant(np.ones(node.shape(), "float32"))
    kept = op("_npx_dropout", ones, p=rate, mode="always")
    mask = op("BlockGrad", kept) != 0
    scale = op("_npi_cast", op("BlockGrad", kept), dtype=node.dtype())
    return op("_npi_multiply", x, scale), mask


@TABLE.rule("RandomNormal", "RandomNormalLike", since=1)
def random_normal(node: Node, like: Symbol = None) -> Symbol:
    return _draw(node, "_npi_normal", node.outputs[0].dtype, loc=node.attr("mean"), scale=node.attr("scale"))


@TABLE.rule("RandomUniform", "RandomUniformLike", since=1)
def random_uniform(node: Node, like: Symbol = None) -> Symbol:
    return _draw(node, "_npi_uniform", node.outputs[0].dtype, low=node.attr("low"), high=node.attr("high"))


@TABLE.rule("Bernoulli", since=15)
def bernoulli(node: Node, p: Symbol) -> Symbol:
    drawn = _draw(node, "_npi_uniform", "float64" if node.dtype() == "float64" else "float32", low=0.0, high=1.0)
    hit = op("_npi_less", cast(drawn, "float64"), op("BlockGrad", cast(p, "float64")))
    kind = node.outputs[0].dtype
    return hit if kind == "bool" else cast(hit, kind)


def _draw(node: Node, name: str, kind: str, **limits: float) -> Symbol:
    """Numbers of the output's shape; drawn in float32 where the type is smaller."""
    work = kind if kind in ("float32", "float64") else "float32"
    seed = node.attr("seed")
    if seed is None:
        drawn = op("BlockGrad", op(name, size=node.out_shape(), dtype=work, **limits))
        drawn = op("_npi_add", drawn, constant(np.zeros((), work)))  # a graph without any input cannot run
    else:
        drawn = op("BlockGrad", fresh(_stream(name, float(seed), node.out_shape(), work, tuple(limits.values()))))
    return drawn if work == kind else cast(drawn, kind)


def _stream(name: str, seed: float, shape: tuple[int, ...], kind: str, limits: tuple[float, ...]) -> Draw:
    """Draws of one call, in the order of its runs."""
    runs, dtype = count(), np.dtype(kind)

    def draw() -> np.ndarray:
        generator = random.generator(int(np.float32(seed).view(np.int32)), "operator", name, next(runs))
        if name == "_npi_normal":
            mean, scale = limits
            return np.asarray(mean + scale * generator.standard_normal(shape, dtype), dtype)
        low, high = limits
        return np.asarray(low + (high - low) * generator.random(shape, dtype), dtype)

    return draw
