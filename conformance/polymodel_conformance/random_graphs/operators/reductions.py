"""Calls that sum over axes: reductions, normalisations, softmax."""

from __future__ import annotations

import numpy as np

from polymodel.tensor import Tensor
from polymodel_conformance.random_graphs.sketch import Sketch, Unfit

ANYWHERE = ("ReduceSum", "ReduceMean", "ReduceL1", "ReduceSumSquare", "ReduceProd", "ReduceMax", "ReduceMin")
POSITIVE = ("ReduceL2", "ReduceLogSum", "ReduceLogSumExp")
OF_NOTHING = ("ReduceSum", "ReduceL1", "ReduceSumSquare", "ReduceProd")


def reduced(s: Sketch) -> Tensor:
    name = s.c.of((*ANYWHERE, *POSITIVE))
    x = s.take(dtype=(s.real, s.real, s.real, "int64") if name in ("ReduceSum", "ReduceMax", "ReduceMin") else None)
    if 0 in s.sizes(x) and name not in OF_NOTHING:
        raise Unfit
    if name in POSITIVE and name != "ReduceLogSumExp":
        x = s.b.op("Add", s.b.op("Abs", x), 0.5)
    axes = [a - x.rank if s.c.below(3) == 0 else a for a in s.c.some(x.rank)]
    given = s.setting(axes) if axes or s.c.below(3) == 0 else None
    return s.op(name, x, given, keepdims=s.c.of((1, 0)), noop_with_empty_axes=s.c.of((0, 1)) if not axes else None)


def softmax(s: Sketch) -> Tensor:
    x = s.take(rank=(1, 2, 3, 4))
    return s.op(s.c.of(("Softmax", "LogSoftmax")), x, axis=s.axis(x))


def hardmax(s: Sketch) -> Tensor:
    x = s.take(rank=(1, 2, 3), fits=lambda n: 0 not in n)
    return s.op("Hardmax", x, axis=s.axis(x))


def layer_norm(s: Sketch) -> Tensor:
    x = s.take(rank=(2, 3, 4), fits=lambda n: 0 not in n)
    axis = s.axis(x)
    sizes = s.sizes(x)[axis:]
    if int(np.prod(sizes)) < 2:
        raise Unfit
    if s.c.below(3) == 0:
        return s.op("RMSNormalization", x, s.leaf(sizes), axis=axis, epsilon=0.01)
    bias = s.leaf(sizes) if s.c.below(2) else None
    return s.op("LayerNormalization", x, s.leaf(sizes), bias, axis=axis, epsilon=0.01)


def batch_norm(s: Sketch) -> Tensor:
    x = s.take(rank=(2, 3, 4))
    c = s.sizes(x)[1]
    spread = s.leaf((c,), array=np.asarray(np.abs(s.numbers((c,), s.real)) + 0.5, s.real))
    return s.op("BatchNormalization", x, s.leaf((c,)), s.leaf((c,)), s.leaf((c,)), spread, epsilon=0.001)


def instance_norm(s: Sketch) -> Tensor:
    x = s.take(rank=(3, 4), fits=lambda n: 0 not in n and int(np.prod(n[2:])) > 1)
    c = s.sizes(x)[1]
    return s.op("InstanceNormalization", x, s.leaf((c,)), s.leaf((c,)), epsilon=0.01)


def group_norm(s: Sketch) -> Tensor:
    x = s.take(rank=(3, 4), fits=lambda n: 0 not in n and int(np.prod(n[2:])) > 1)
    c = s.sizes(x)[1]
    groups = s.c.of([g for g in range(1, c + 1) if c % g == 0])
    return s.op("GroupNormalization", x, s.leaf((c,)), s.leaf((c,)), num_groups=groups, epsilon=0.01)


def lp_norm(s: Sketch) -> Tensor:
    x = s.take(rank=(1, 2, 3), fits=lambda n: 0 not in n)
    inner = s.b.op("Add", s.b.op("Abs", x), 0.5)
    return s.op("LpNormalization", inner, axis=s.axis(x), p=s.c.of((2, 1)))


def lrn(s: Sketch) -> Tensor:
    return s.op("LRN", s.take(rank=(3, 4)), size=s.c.of((3, 1, 5, 2)), alpha=0.1, beta=0.75, bias=1.0)


def variance_norm(s: Sketch) -> Tensor:
    x = s.take(rank=(2, 3, 4), fits=lambda n: 0 not in n and int(np.prod(n)) > 3)
    return s.op("MeanVarianceNormalization", s.b.op("Mul", x, s.leaf(s.sizes(x))), axes=list(range(x.rank)))


ROWS = (
    (14, reduced), (5, softmax), (1, hardmax), (4, layer_norm), (3, batch_norm), (2, instance_norm), (2, group_norm),
    (1, lp_norm), (1, lrn), (1, variance_norm),
)
