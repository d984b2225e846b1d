"""Pooling of regions of interest: RoiAlign and MaxRoiPool.

RoiAlign samples each bin of a region on a grid. With a given number of samples it takes the rows that the samples see.
With sampling_ratio=0 that number depends on the region; neighbouring samples are then more than half a pixel apart, so
that at most two of them lie between two pixels: averages become two small matrices for each region, one for each axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from polymodel.bodies.sampling import number, rows
from polymodel.bodies.table import BODIES, Body
from polymodel.errors import GraphError
from polymodel.plan import Node
from polymodel.spec import numpy_dtype

_HALF = ("float16", "bfloat16")


@final
@dataclass(frozen=True)
class Bins:
    """The bins of all regions along one axis.

    Attributes:
        start: name of (regions, 1), where a region starts.
        step: name of (regions, 1), length of a bin.
        count: bins of a region.
        size: pixels of the axis.
        regions: number of regions.
    """

    start: str
    step: str
    count: int
    size: int
    regions: int


@BODIES.rule("RoiAlign", since=10)
def roi_align(b: Body, node: Node, x: str, rois: str, batch: str) -> str:
    images, channels, height, width = node.shape(0)
    regions = node.dim(1, 0)
    out = (int(node.attr("output_height")), int(node.attr("output_width")))
    mode, ratio = str(node.attr("mode")), int(node.attr("sampling_ratio") or 0)
    if mode not in ("avg", "max"):
        raise GraphError(f"{node}: RoiAlign has the modes avg and max, received {mode!r}")
    if 0 in (images, regions, channels, *out):
        return b.constant(np.zeros((regions, channels, *out)), node.dtype())
    dtype = node.dtype()
    if dtype in _HALF:
        x, rois = b.cast(x, "float32"), b.cast(rois, "float32")
    bins = _bins(b, node, rois, (height, width), out)
    if mode == "avg" and ratio == 0:
        y = _adaptive_mean(b, x, batch, bins)
    else:
        samples = [_fixed(b, a, ratio) if ratio else _adaptive(b, a) for a in bins]
        y = _sampled(b, x, batch, bins, samples, mode, ratio)
    return b.cast(y, dtype)


def _bins(b: Body, node: Node, rois: str, sizes: tuple[int, int], out: tuple[int, int]) -> list[Bins]:
    """Bins of the vertical and of the horizontal axis."""
    regions = node.dim(1, 0)
    rois = b.call("Mul", rois, number(b, float(node.attr("spatial_scale")), rois))
    shifted = node.version >= 16 and node.attr("coordinate_transformation_mode") == "half_pixel"
    if shifted:
        rois = b.call("Sub", rois, number(b, 0.5, rois))
    left, top, right, bottom = b.calls("Split", rois, None, outputs=4, axis=1, num_outputs=4)
    found = []
    for start, end, size, count in ((top, bottom, sizes[0], out[0]), (left, right, sizes[1], out[1])):
        length = b.call("Sub", end, start)
        if not shifted:  # a region without extent counts as one pixel
            length = b.call("Max", length, number(b, 1.0, length))
        found.append(Bins(start, b.call("Div", length, number(b, count, length)), count, size, regions))
    return found


@final
@dataclass(frozen=True)
class Samples:
    """What the samples of each bin see along one axis.

    Attributes:
        index, weight: names of (regions, bins, seen), two pixels for each sample.
        real: name of a mask of the same shape: false where a region has fewer samples; "" where all are real.
        seen: entries of each bin.
    """

    index: str
    weight: str
    real: str
    seen: int


def _fixed(b: Body, bins: Bins, ratio: int) -> Samples:
    grid = np.arange(bins.count)[:, None] + (np.arange(ratio) + 0.5) / ratio
    moved = b.call("Mul", bins.step, b.constant(grid.reshape(1, -1), b.spec(bins.step).dtype))
    place = b.reshape(b.call("Add", bins.start, moved), (bins.regions, bins.count, ratio))
    index, weight = _seen(b, place, bins.size, ratio, (bins.regions, bins.count))
    return Samples(index, weight, "", 2 * ratio)


def _seen(b: Body, place: str, size: int, samples: int, lead: tuple[int, int]) -> tuple[str, str]:
    """The pixels around each place and their weights, which are 0 more than a pixel outside of the image."""
    inside = b.call(
        "And", b.call("GreaterOrEqual", place, number(b, -1.0, place)),
        b.call("LessOrEqual", place, number(b, float(size), place)),
    )  # fmt: skip
    held = b.call("Clip", place, number(b, 0.0, place), number(b, size - 1.0, place))
    below = b.call("Floor", held)
    ratio, counts = b.call("Sub", held, below), b.cast(inside, b.spec(place).dtype)
    high = b.call("Mul", ratio, counts)
    low = b.call("Sub", counts, high)
    first = b.call("Min", b.call("Max", b.cast(below, "int64"), b.constant(0, "int64")), b.constant(size - 1, "int64"))
    second = b.call("Min", b.call("Add", first, b.constant(1, "int64")), b.constant(size - 1, "int64"))
    return _pair(b, first, second, samples, lead), _pair(b, low, high, samples, lead)


def _pair(b: Body, first: str, second: str, samples: int, lead: tuple[int, int]) -> str:
    parts = [b.reshape(p, (*lead, samples, 1)) for p in (first, second)]
    return b.reshape(b.call("Concat", *parts, axis=3), (*lead, 2 * samples))


def _outer(b: Body, op_type: str, rows_: str, columns: str, shape: tuple[int, int, int, int, int]) -> str:
    """(regions, bins, seen) of both axes combined to (regions, bins * bins, seen * seen)."""
    r, h, w, m, n = shape
    pair = b.call(op_type, b.reshape(rows_, (r, h, 1, m, 1)), b.reshape(columns, (r, 1, w, 1, n)))
    return b.reshape(pair, (r, h * w, m * n))


def _sampled(b: Body, x: str, batch: str, bins: list[Bins], samples: list[Samples], mode: str, ratio: int) -> str:
    vertical, horizontal = samples
    regions, out = bins[0].regions, (bins[0].count, bins[1].count)
    shape = (regions, *out, vertical.seen, horizontal.seen)
    table = rows(b, x)
    wide = b.call("Mul", vertical.index, b.constant(bins[1].size, "int64"))
    index = _outer(b, "Add", wide, horizontal.index, shape)
    start = b.call("Mul", b.cast(batch, "int64"), b.constant(bins[0].size * bins[1].size, "int64"))
    index = b.call("Add", index, b.reshape(start, (regions, 1, 1)))
    weight = _outer(b, "Mul", vertical.weight, horizontal.weight, shape)
    seen = b.call("Gather", table, index, axis=0)
    product = b.call("Mul", seen, b.call("Unsqueeze", weight, b.constant([3], "int64")))
    axis = b.constant([2], "int64")
    if mode == "avg":
        y = b.call("ReduceSum", product, axis, keepdims=0)
        y = b.call("Mul", y, number(b, 1 / (ratio * ratio), y))
    elif ratio:
        y = b.call("ReduceMax", product, axis, keepdims=0)
    else:
        real = b.call("Unsqueeze", _outer(b, "And", vertical.real, horizontal.real, shape), b.constant([3], "int64"))
        y = b.call("ReduceMax", b.call("Where", real, product, number(b, -np.inf, product)), axis, keepdims=0)
        some = b.call("ReduceMax", b.cast(real, "int32"), axis, keepdims=0)
        y = b.call("Where", b.cast(some, "bool"), y, number(b, 0.0, y))
    channels = b.spec(x).shape[1]
    assert isinstance(channels, int)
    return b.reshape(b.call("Transpose", y, perm=[0, 2, 1]), (regions, channels, *out))


def _grid(b: Body, bins: Bins) -> tuple[str, str, str]:
    """For sampling_ratio=0: samples of a bin (regions, 1), their distance, and the start of every bin."""
    samples = b.call("Max", b.call("Ceil", bins.step), number(b, 0.0, bins.step))
    apart = b.call("Div", bins.step, b.call("Max", samples, number(b, 1.0, samples)))
    moved = b.call("Mul", bins.step, b.constant(np.arange(bins.count)[None], b.spec(bins.step).dtype))
    return samples, apart, b.call("Add", bins.start, moved)


def _numbered(b: Body, bins: Bins, origin: str, apart: str, samples: str, first: str, places: int) -> tuple[str, str]:
    """Places of samples number first, first + 1, ..., and whether the bin has that many."""
    sample = b.call("Add", first, b.constant(np.arange(places).astype(float), b.spec(first).dtype))
    distance = b.call("Mul", b.call("Add", sample, number(b, 0.5, sample)), apart)
    real = b.call(
        "And", b.call("GreaterOrEqual", sample, number(b, 0.0, sample)), b.call("Less", sample, samples)
    )  # fmt: skip
    return b.call("Add", origin, distance), real


def _adaptive(b: Body, bins: Bins) -> Samples:
    """The samples of each bin that can lie inside, and one before and after: they are more than 1/2 apart."""
    shape = (bins.regions, bins.count)
    samples, apart, origin = _grid(b, bins)
    apart, samples = b.reshape(apart, (bins.regions, 1, 1)), b.reshape(samples, (bins.regions, 1, 1))
    origin = b.reshape(origin, (*shape, 1))
    first = _number_at(b, number(b, -1.0, origin), origin, apart)
    first = b.call("Max", b.call("Sub", first, number(b, 2.0, first)), number(b, 0.0, first))
    places = 2 * bins.size + 8
    place, real = _numbered(b, bins, origin, apart, samples, first, places)
    index, weight = _seen(b, place, bins.size, places, shape)
    return Samples(index, weight, _pair(b, real, real, places, shape), 2 * places)


def _number_at(b: Body, place: str, origin: str, apart: str) -> str:
    """Number of the first sample that is not before a place, give or take one; apart is 0 where there are none."""
    safe = b.call("Where", b.call("Greater", apart, number(b, 0.0, apart)), apart, number(b, 1.0, apart))
    steps = b.call("Div", b.call("Sub", place, origin), safe)
    return b.call("Ceil", b.call("Sub", steps, number(b, 0.5, steps)))


def _weights(b: Body, bins: Bins) -> str:
    """Weight of each pixel in the mean of the samples of each bin, along one axis: (regions, bins, size)."""
    shape, size, dtype = (bins.regions, bins.count), bins.size, b.spec(bins.step).dtype
    samples, apart, origin = _grid(b, bins)
    share = b.call("Reciprocal", b.call("Max", samples, number(b, 1.0, samples)))
    apart, samples = b.reshape(apart, (bins.regions, 1, 1, 1)), b.reshape(samples, (bins.regions, 1, 1, 1))
    origin = b.reshape(origin, (*shape, 1, 1))
    cells = b.constant(np.arange(-1.0, size).reshape(1, 1, -1, 1), dtype)  # the cell c is [c, c + 1)
    first = b.call("Max", b.call("Sub", _number_at(b, cells, origin, apart), number(b, 1.0, apart)), number(b, 0.0, apart))
    place, real = _numbered(b, bins, origin, apart, samples, first, 4)
    cell = b.call("Min", b.call("Floor", place), number(b, size - 1.0, place))
    inside = b.call("LessOrEqual", place, number(b, float(size), place))
    here = b.call("And", b.call("And", b.call("Equal", cell, cells), inside), real)
    distance = b.call("Sub", b.call("Clip", place, number(b, 0.0, place), number(b, size - 1.0, place)), cells)
    axis = b.constant([3], "int64")
    count = b.call("ReduceSum", b.cast(here, dtype), axis, keepdims=0)
    far = b.call("ReduceSum", b.call("Where", here, distance, number(b, 0.0, distance)), axis, keepdims=0)
    near = b.call("Sub", count, far)  # what falls to the lower pixel of a cell; the rest falls to the upper one
    one, two = b.constant([1], "int64"), b.constant([2], "int64")
    lower = b.call("Slice", near, one, b.constant([size + 1], "int64"), two)
    upper = b.call("Slice", far, b.constant([0], "int64"), b.constant([size], "int64"), two)
    return b.call("Mul", b.call("Add", lower, upper), b.reshape(share, (bins.regions, 1, 1)))


def _adaptive_mean(b: Body, x: str, batch: str, bins: list[Bins]) -> str:
    vertical, horizontal = bins
    regions, channels = vertical.regions, b.spec(x).shape[1]
    assert isinstance(channels, int)
    h, w, p, q = vertical.size, horizontal.size, vertical.count, horizontal.count
    images = b.reshape(b.call("Gather", x, batch, axis=0), (regions, channels * h, w))
    y = b.call("MatMul", images, b.call("Transpose", _weights(b, horizontal), perm=[0, 2, 1]))
    y = b.call("Transpose", b.reshape(y, (regions, channels, h, q)), perm=[0, 2, 1, 3])
    y = b.call("MatMul", _weights(b, vertical), b.reshape(y, (regions, h, channels * q)))
    return b.call("Transpose", b.reshape(y, (regions, p, channels, q)), perm=[0, 2, 1, 3])


@BODIES.rule("MaxRoiPool", since=1)
def max_roi_pool(b: Body, node: Node, x: str, rois: str) -> str:
    """Fast R-CNN's pooling, https://arxiv.org/abs/1504.08083: corners are rounded, bins share their border pixels."""
    images, channels, height, width = node.shape(0)
    regions, out = node.dim(1, 0), tuple(int(n) for n in node.attr("pooled_shape"))
    if 0 in (images, regions, channels, *out):
        return b.constant(np.zeros((regions, channels, *out)), node.dtype())
    dtype = node.dtype()
    if dtype in _HALF:
        x, rois = b.cast(x, "float32"), b.cast(rois, "float32")
    number_, left, top, right, bottom = b.calls("Split", rois, None, outputs=5, axis=1, num_outputs=5)
    scale = float(node.attr("spatial_scale"))
    y = b.call("Gather", x, b.reshape(b.cast(number_, "int64"), (regions,)), axis=0)
    for axis, (start, end, size, count) in enumerate(
        ((top, bottom, height, out[0]), (left, right, width, out[1])), start=2
    ):
        inside = _covered(b, _rounded(b, start, scale), _rounded(b, end, scale), size, count)
        y = _extremes(b, y, axis, inside, (regions, count, size))
    return b.cast(y, dtype)


def _rounded(b: Body, place: str, scale: float) -> str:
    """Half away from zero."""
    place = b.call("Mul", place, number(b, scale, place))
    whole = b.call("Floor", b.call("Add", b.call("Abs", place), number(b, 0.5, place)))
    return b.call("Mul", whole, b.call("Sign", place))


def _covered(b: Body, start: str, end: str, size: int, count: int) -> str:
    """Which pixels each bin covers: a mask (regions, count * size)."""
    length = b.call("Max", b.call("Add", b.call("Sub", end, start), number(b, 1.0, start)), number(b, 1.0, start))
    step, dtype = b.call("Div", length, number(b, count, length)), b.spec(start).dtype
    bins, pixels = np.repeat(np.arange(count), size)[None], np.tile(np.arange(size), count)[None]
    low = b.call("Add", b.call("Floor", b.call("Mul", step, b.constant(bins, dtype))), start)
    high = b.call("Add", b.call("Ceil", b.call("Mul", step, b.constant(bins + 1, dtype))), start)
    pixel = b.constant(pixels, dtype)
    return b.call("And", b.call("GreaterOrEqual", pixel, low), b.call("Less", pixel, high))


def _extremes(b: Body, x: str, axis: int, inside: str, shape: tuple[int, int, int]) -> str:
    """Maximum over the pixels of each bin along one axis, 0 where a bin has none."""
    regions, count, size = shape
    lowest = b.constant(np.asarray(-np.inf, numpy_dtype(b.spec(x).dtype)))
    parts = []
    for i in range(count):
        bounds = (b.constant([i * size], "int64"), b.constant([(i + 1) * size], "int64"), b.constant([1], "int64"))
        wide = [regions, 1, 1, 1]
        some = b.call("ReduceMax", b.cast(b.call("Slice", inside, *bounds), "int32"), b.constant([1], "int64"))
        empty = b.call("Not", b.cast(b.reshape(some, wide), "bool"))
        wide[axis] = size
        mask = b.reshape(b.call("Slice", inside, *bounds), wide)
        most = b.call("ReduceMax", b.call("Where", mask, x, lowest), b.constant([axis], "int64"), keepdims=1)
        parts.append(b.call("Where", empty, number(b, 0.0, x), most))
    return parts[0] if count == 1 else b.call("Concat", *parts, axis=axis)
