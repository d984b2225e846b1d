"""Calls that move elements: shapes, axes, pieces, borders."""

from __future__ import annotations

import math

import numpy as np

from polymodel.tensor import Tensor
from polymodel_conformance.random_graphs.sketch import Sketch, Unfit


def any_value(s: Sketch, **more: object) -> Tensor:
    types = (s.real, s.real, "int64", "bool")
    return s.take(dtype=types, **more)  # type: ignore[arg-type]


def transpose(s: Sketch) -> Tensor:
    x = any_value(s)
    return s.op("Transpose", x, perm=list(s.c.order(x.rank)) if s.c.below(4) else None)


def reshape(s: Sketch) -> Tensor:
    x = any_value(s)
    sizes = list(s.sizes(x))
    count = math.prod(sizes)
    match s.c.below(4):
        case 0:
            target = [-1] if count else sizes
        case 1 if x.rank > 1:  # two neighbours become one
            at = s.c.below(x.rank - 1)
            target = [*sizes[:at], sizes[at] * sizes[at + 1], *sizes[at + 2 :]]
        case 2 if sizes:  # one is divided
            at = s.c.below(x.rank)
            by = next((k for k in (2, 3, 5, 7) if sizes[at] and sizes[at] % k == 0), 1)
            target = [*sizes[:at], by, sizes[at] // by, *sizes[at + 1 :]]
        case _ if sizes and count:  # 0 keeps a size
            target = [0, *sizes[1:]]
            if len(target) > 1:
                target[-1] = -1
        case _:
            target = sizes
    if len(target) > 5:
        raise Unfit
    return s.op("Reshape", x, s.setting(target), allowzero=1 if not count else None)


def flatten(s: Sketch) -> Tensor:
    x = any_value(s)
    return s.op("Flatten", x, axis=s.c.below(2 * x.rank + 1) - x.rank)


def squeeze(s: Sketch) -> Tensor:
    x = any_value(s)
    ones = [i for i, n in enumerate(s.sizes(x)) if n == 1]
    if not ones:
        raise Unfit
    return s.op("Squeeze", x, s.setting([s.c.of(ones)]))


def unsqueeze(s: Sketch) -> Tensor:
    x = any_value(s, rank=(0, 1, 2, 3))
    axis = s.c.below(x.rank + 1)
    return s.op("Unsqueeze", x, s.setting([axis - x.rank - 1 if s.c.below(2) else axis]))


def concat(s: Sketch) -> Tensor:
    x = any_value(s, rank=(1, 2, 3, 4))
    axis = s.axis(x)
    parts = [x]
    for _ in range(s.c.below(3)):
        sizes = list(s.sizes(x))
        sizes[axis] = s.size()
        parts.append(s.c.of((s.leaf(sizes, x.dtype), x)))
    return s.op("Concat", *parts, axis=axis)


def split(s: Sketch) -> object:
    x = any_value(s, rank=(1, 2, 3, 4))
    axis = s.axis(x)
    n = s.sizes(x)[axis]
    if n < 2:
        raise Unfit
    if s.c.below(2):
        count = 2 + s.c.below(min(n, 3) - 1)
        return s.ops("Split", x, outputs=count, axis=axis, num_outputs=count)
    first = s.c.below(n + 1)
    return s.ops("Split", x, s.setting([first, n - first]), outputs=2, axis=axis)


def slice_(s: Sketch) -> Tensor:
    x = any_value(s, rank=(1, 2, 3, 4))
    axes = list(s.c.some(x.rank)) or [s.axis(x)]
    starts, ends, steps = [], [], []
    for axis in axes:
        n = s.sizes(x)[axis]
        step = s.c.of((1, 2, -1, -2, 3))
        low, high = sorted((s.c.below(n + 1), s.c.below(n + 1)))
        start, end = (low, high) if step > 0 else (high, low)
        if s.c.chance(25):
            start, end = (0, 2**63 - 1) if step > 0 else (2**31, -(2**62))
        if s.c.chance(25):
            start -= n
        starts.append(start)
        ends.append(end)
        steps.append(step)
    return s.op("Slice", x, s.setting(starts), s.setting(ends), s.setting(axes), s.setting(steps))


def expand(s: Sketch) -> Tensor:
    x = any_value(s)
    sizes = [s.size() if n == 1 else s.c.of((1, n)) for n in s.sizes(x)]
    if s.c.below(3) == 0 and len(sizes) < 4:
        sizes = [s.size(), *sizes]
    return s.op("Expand", x, s.setting(sizes))


def tile(s: Sketch) -> Tensor:
    x = any_value(s)
    return s.op("Tile", x, s.setting([s.c.of((1, 2, 3, 0) if s.empties else (1, 2, 3)) for _ in range(x.rank)]))


def pad(s: Sketch) -> Tensor:
    x = s.take(rank=(1, 2, 3, 4), dtype=(s.real, s.real, "int64"))
    mode = s.c.of(("constant", "reflect", "edge", "wrap"))
    sizes = s.sizes(x)
    axes = list(range(x.rank)) if s.c.below(2) else [s.axis(x)]
    most = [2 if mode == "constant" else max(0, min(2, sizes[a] - 1)) for a in axes]
    if mode != "constant" and 0 in sizes:
        raise Unfit
    counts = [s.c.below(m + 1) for _ in range(2) for m in most]
    if mode == "constant" and s.c.below(4) == 0:  # a negative border cuts off
        counts[0] = -min(1, sizes[axes[0]])
    value = np.asarray(s.c.of((0, 1, -2)), x.dtype) if mode == "constant" and s.c.below(2) else None
    whole = axes == list(range(x.rank)) and s.c.below(2)
    return s.op("Pad", x, s.setting(counts), value, None if whole else s.setting(axes), mode=mode)


def depth(s: Sketch) -> Tensor:
    if s.c.below(2):
        x = s.take(rank=4, fits=lambda n: n[1] % 4 == 0 and n[1] > 0, shape=(s.size(), 4 * (1 + s.c.below(2)), s.size(), s.size()))
        return s.op("DepthToSpace", x, blocksize=2, mode=s.c.of(("DCR", "CRD")))
    x = s.take(rank=4, fits=lambda n: n[2] % 2 == 0 and n[3] % 2 == 0, shape=(s.size(), s.size(), 4, 2))
    return s.op("SpaceToDepth", x, blocksize=2)


def trilu(s: Sketch) -> Tensor:
    x = any_value(s, rank=(2, 3, 4))
    k = s.setting(s.c.below(7) - 3) if s.c.below(2) else None
    return s.op("Trilu", x, k, upper=s.c.below(2))


def shape_of(s: Sketch) -> Tensor:
    x = any_value(s, rank=(1, 2, 3, 4))
    return s.op("Expand", s.leaf((1,)), s.b.op("Shape", x)) if s.c.below(2) else s.op("Shape", x, start=s.c.below(x.rank))


def crop(s: Sketch) -> Tensor:
    x = s.take(rank=(1, 2, 3, 4))
    axis = s.axis(x)
    return s.op("CenterCropPad", x, s.setting([max(1, s.size())]), axes=[axis])


ROWS = (
    (5, transpose), (6, reshape), (2, flatten), (2, squeeze), (3, unsqueeze), (5, concat), (3, split), (6, slice_),
    (3, expand), (2, tile), (5, pad), (1, depth), (2, trilu), (2, shape_of), (1, crop),
)
