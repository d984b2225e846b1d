"""Calls that address elements by integers."""

from __future__ import annotations

import numpy as np

from polymodel.tensor import Tensor
from polymodel_conformance.random_graphs.operators.movement import any_value
from polymodel_conformance.random_graphs.sketch import Sketch, Unfit


def gather(s: Sketch) -> Tensor:
    x = any_value(s, rank=(1, 2, 3))
    axis = s.axis(x)
    indices = s.indices(s.shape(s.c.of((1, 0, 2))), s.sizes(x)[axis])
    return s.op("Gather", x, indices, axis=axis)


def gather_elements(s: Sketch) -> Tensor:
    x = any_value(s, rank=(1, 2, 3))
    axis = s.axis(x)
    sizes = [s.c.of((n, max(n - 1, 0))) for n in s.sizes(x)]
    sizes[axis] = s.size()
    return s.op("GatherElements", x, s.indices(sizes, s.sizes(x)[axis]), axis=axis)


def gather_nd(s: Sketch) -> Tensor:
    x = any_value(s, rank=(2, 3))
    sizes = s.sizes(x)
    if 0 in sizes:
        raise Unfit
    batch = s.c.below(2)
    depth = 1 + s.c.below(x.rank - batch)
    shape = (*sizes[:batch], s.size(), depth)
    columns = [s.rng.integers(-n, n, shape[:-1]) for n in sizes[batch : batch + depth]]
    return s.op("GatherND", x, s.leaf(shape, array=np.stack(columns, -1).astype(np.int64)), batch_dims=batch)


def scatter_elements(s: Sketch) -> Tensor:
    x = s.take(rank=(1, 2, 3))
    axis = s.axis(x)
    sizes, limit = list(s.sizes(x)), s.sizes(x)[axis]
    reduction = s.c.of(("none", "add", "mul", "max", "min"))
    if limit == 0 or 0 in sizes:
        raise Unfit
    if reduction == "none":  # each place at most once: which write wins is not defined
        sizes[axis] = 1 + s.c.below(limit)
        ranks = s.rng.permuted(np.broadcast_to(np.arange(limit), (*np.delete(sizes, axis), limit)), axis=-1)
        indices = np.moveaxis(ranks[..., : sizes[axis]], -1, axis).astype(np.int64)
        where = s.leaf(sizes, array=np.ascontiguousarray(indices))
    else:
        sizes[axis] = s.size()
        where = s.indices(sizes, limit)
    return s.op("ScatterElements", x, where, s.leaf(sizes), axis=axis, reduction=reduction)


def scatter_nd(s: Sketch) -> Tensor:
    x = s.take(rank=(1, 2, 3))
    sizes = s.sizes(x)
    if 0 in sizes:
        raise Unfit
    reduction = s.c.of(("none", "add", "mul", "max", "min"))
    count = 1 + s.c.below(sizes[0]) if reduction == "none" else s.size()
    rows = s.rng.permutation(sizes[0])[:count] if reduction == "none" else s.rng.integers(0, sizes[0], count)
    indices = s.leaf((count, 1), array=rows.reshape(-1, 1).astype(np.int64))
    return s.op("ScatterND", x, indices, s.leaf((count, *sizes[1:])), reduction=reduction)


def one_hot(s: Sketch) -> Tensor:
    depth = 2 + s.c.below(4)
    indices = s.indices(s.shape(s.c.of((1, 2, 0))), depth + 1)
    values = s.leaf((2,), array=np.asarray([0.5, 2.0], s.real))
    return s.op("OneHot", indices, s.setting(depth), values, axis=s.c.of((-1, 0)))


def top_k(s: Sketch) -> object:
    x = s.take(rank=(1, 2, 3))
    axis = s.axis(x)
    n = s.sizes(x)[axis]
    k = s.setting([s.c.below(n + 1)])
    return s.ops("TopK", x, k, outputs=2, axis=axis, largest=s.c.of((1, 0)), sorted=1)


def arg(s: Sketch) -> Tensor:
    x = s.take(rank=(1, 2, 3, 4), dtype=(s.real, "int64"), fits=lambda n: 0 not in n)
    last = s.c.below(2)
    return s.op(s.c.of(("ArgMax", "ArgMin")), x, axis=s.axis(x), keepdims=s.c.of((1, 0)), select_last_index=last)


def cumulative(s: Sketch) -> Tensor:
    x = s.take(rank=(1, 2, 3))
    return s.op("CumSum", x, s.setting(s.axis(x)), exclusive=s.c.below(2), reverse=s.c.below(2))


def reverse(s: Sketch) -> Tensor:
    x = s.take(rank=(2, 3), fits=lambda n: n[0] > 0 and n[1] > 0)
    time = s.c.below(2)
    lengths = s.rng.integers(1, s.sizes(x)[time] + 1, s.sizes(x)[1 - time])
    given = s.leaf(lengths.shape, array=lengths.astype(np.int64))
    return s.op("ReverseSequence", x, given, time_axis=time, batch_axis=1 - time)


ROWS = (
    (5, gather), (3, gather_elements), (3, gather_nd), (3, scatter_elements), (2, scatter_nd), (2, one_hot), (3, top_k),
    (2, arg), (3, cumulative), (1, reverse),
)
