"""Regions of images and convolutions with learnt positions: RoiAlign, MaxRoiPool, DeformConv."""

from __future__ import annotations

import math

import numpy as np

from polymodel.plan import Node
from polymodel_conformance.oracle import primitives as p
from polymodel_conformance.oracle.convolution import per_channel, window
from polymodel_conformance.oracle.sampling import Tap, floored, linear_taps, nearest_inside, nothing, places, read
from polymodel_conformance.oracle.table import ORACLE
from polymodel_conformance.oracle.tape import Array, Value


@ORACLE.rule("RoiAlign", since=10)
def _roi_align(node: Node, x: Value, rois: Value, batch: Value) -> Value:
    half = node.attributes.get("coordinate_transformation_mode", "output_half_pixel") == "half_pixel"
    pooled = (int(node.attr("output_height")), int(node.attr("output_width")))
    found = [_one_region(node, x, p.pick(rois, (i,)), int(b), pooled, half) for i, b in enumerate(batch.array)]
    if not found:
        return x.tape.value(np.zeros((0, x.shape[1], *pooled)))
    return p.stack(found)


def _one_region(node: Node, x: Value, roi: Value, batch: int, pooled: tuple[int, int], half: bool) -> Value:
    """(C, *pooled) of one region (x1, y1, x2, y2)."""
    scale, channels = float(node.attr("spatial_scale")), x.shape[1]
    corners = p.sub(p.mul(roi, scale), 0.5 if half else 0.0)
    taps: list[list[Tap]] = []
    counts: list[int] = []
    for axis, (size, bins) in enumerate(zip(x.shape[2:], pooled, strict=True)):
        start, end = p.pick(corners, (1 - axis,)), p.pick(corners, (3 - axis,))
        extent = p.sub(end, start)
        if not half:
            extent = p.where(p.step(extent, 1.0), extent, 1.0)
        count = int(node.attr("sampling_ratio")) or math.ceil(_count(extent) / bins)
        at = (np.arange(bins)[:, None] + (np.arange(count) + 0.5) / count).reshape(-1) if count > 0 else np.zeros(0)
        place = p.add(start, p.mul(p.div(extent, float(bins)), at))
        taps.append(_bilinear(place, size, axis))
        counts.append(max(count, 0))
    lead = (batch * channels + np.arange(channels)).reshape(-1, 1, 1)
    shape = (channels, pooled[0], counts[0], pooled[1], counts[1])
    if node.attr("mode") == "avg":
        samples = p.reshape(read(x, lead, taps, x.shape[2:], nearest_inside), shape)
        return p.div(p.total(samples, (2, 4)), float(max(1, counts[0] * counts[1])))
    index, weights = places(lead, taps, x.shape[2:], nearest_inside)
    terms = p.reshape(p.mul(p.take(x, index), weights), (*shape, -1))
    return p.largest(p.reshape(p.transpose(terms, (0, 1, 3, 2, 4, 5)), (channels, *pooled, -1)), -1)[0]


def _count(extent: Value) -> float:
    """How many samples fit: a decision wherever the extent is whole."""
    value = float(extent.array)
    extent.tape.kinks.decide(np.asarray(abs(value - round(value))))
    return value


def _bilinear(place: Value, size: int, axis: int) -> list[Tap]:
    """Two taps on one of two axes; weights are zero from one element outside on."""
    out = p.step(p.neg(place), 1.0) | p.step(place, float(size))
    place = p.where(p.step(place), place, 0.0)
    low = floored(place)
    last = low >= size - 1
    part = p.where(last, 0.0, p.sub(place, low))
    low = np.where(last, size - 1, low)
    high = np.where(last, size - 1, low + 1)
    shape = (1, -1, 1) if axis == 0 else (1, 1, -1)
    weights = [p.reshape(p.where(out, 0.0, w), shape) for w in (p.sub(1.0, part), part)]
    return [(low.reshape(shape), weights[0]), (high.reshape(shape), weights[1])]


@ORACLE.rule("MaxRoiPool", since=1)
def _max_roi_pool(node: Node, x: Value, rois: Value) -> Value:
    """Girshick, "Fast R-CNN", 2015, section 2.1: corners rounded to whole elements, bins that overlap by rounding."""
    bins, scale = [int(n) for n in node.attr("pooled_shape")], float(node.attr("spatial_scale"))
    channels, height, width = x.shape[1:]
    index = np.full((len(rois.array), channels, *bins, height * width), -1, np.int64)
    planes = np.arange(x.array.size).reshape(x.shape)
    for r, roi in enumerate(rois.array):
        scaled = roi[1:] * scale
        x.tape.kinks.decide(np.abs(scaled - np.floor(scaled) - 0.5))
        left, top, right, bottom = (int(math.floor(abs(v) + 0.5) * math.copysign(1, v)) for v in scaled)
        rows = _bins(top, max(bottom - top + 1, 1), bins[0], height)
        columns = _bins(left, max(right - left + 1, 1), bins[1], width)
        for i, (a, b) in enumerate(rows):
            for j, (c, d) in enumerate(columns):
                part = planes[int(roi[0]), :, a:b, c:d].reshape(channels, -1)
                index[r, :, i, j, : part.shape[1]] = part
    empty = np.zeros(index.shape, bool)
    empty[..., 0] = (index < 0).all(-1)  # a region outside the image pools nothing, which is 0
    return p.largest(p.where(empty, 0.0, p.where(index >= 0, p.take(x, index), -np.inf)), -1)[0]


def _bins(start: int, extent: int, bins: int, size: int) -> list[tuple[int, int]]:
    ends = [(start + i * extent // bins, start - (-(i + 1) * extent // bins)) for i in range(bins)]
    return [(min(max(a, 0), size), min(max(b, 0), size)) for a, b in ends]


@ORACLE.rule("DeformConv", since=19)
def _deform_conv(
    node: Node, x: Value, weight: Value, offset: Value, bias: Value | None = None, mask: Value | None = None
) -> Value:
    w = window(node, x.shape[2:], weight.shape[2:])
    n, channels, rank = x.shape[0], x.shape[1], len(w.kernel)
    groups, apart = int(node.attr("group")), int(node.attr("offset_group"))
    moved = p.reshape(offset, (n, apart, *w.kernel, rank, *w.sizes))
    taps = [_moved(w.before, w.strides, w.dilations, w.kernel, w.sizes, moved, axis) for axis in range(rank)]
    lead = np.arange(n * channels).reshape(n, apart, channels // apart, *(1,) * (2 * rank))
    samples = read(x, lead, taps, x.shape[2:], nothing)
    if mask is not None:
        samples = p.mul(samples, p.reshape(mask, (n, apart, 1, *w.kernel, *w.sizes)))
    k, spots = int(np.prod(w.kernel)), int(np.prod(w.sizes))
    columns = p.reshape(samples, (n, groups, channels // groups * k, spots))
    columns = p.reshape(p.transpose(columns, (1, 0, 3, 2)), (groups, n * spots, channels // groups * k))
    m = weight.shape[0]
    y = p.matmul(columns, p.swap(p.reshape(weight, (groups, m // groups, channels // groups * k)), 1, 2))
    y = p.reshape(y, (groups, n, spots, m // groups))
    y = p.reshape(p.transpose(y, (1, 0, 3, 2)), (n, m, *w.sizes))
    return y if bias is None else p.add(y, per_channel(bias, y.ndim))


def _moved(
    before: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...], kernel: tuple[int, ...],
    sizes: tuple[int, ...], offset: Value, axis: int,
) -> list[Tap]:
    """Taps (N, offset groups, 1, *kernel, *sizes) on one axis; offset: (N, offset groups, *kernel, axes, *sizes)."""
    rank = len(kernel)

    def along(values: Array, position: int) -> Array:
        return values.reshape([-1 if i == position else 1 for i in range(2 * rank)])

    inner = along(np.arange(kernel[axis]) * dilations[axis], axis)
    outer = along(np.arange(sizes[axis]) * strides[axis] - before[axis], rank + axis)
    mine = p.pick(offset, (*(slice(None),) * (2 + rank), axis))
    return linear_taps(p.expand_dims(p.add(mine, (inner + outer).astype(np.float64)), 2))
