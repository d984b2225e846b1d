"""Resizing and sampling of grids: Resize, Upsample, GridSample, AffineGrid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from polymodel.plan import Node
from polymodel_conformance.oracle import primitives as p
from polymodel_conformance.oracle.sampling import (
    Outside,
    Tap,
    cubic_taps,
    linear_taps,
    nearest_inside,
    nothing,
    read,
)
from polymodel_conformance.oracle.table import ORACLE
from polymodel_conformance.oracle.tape import Array, Tape, Value

# -- Resize ------------------------------------------------------------------------------------------------------------


@ORACLE.rule("Resize", since=11)
def _resize(
    node: Node, x: Value, roi: Value | None = None, scales: Value | None = None, sizes: Value | None = None
) -> Value:
    axes = [a % x.ndim for a in (node.attr("axes") or range(x.ndim))]
    shape, factors = _sizes(node, x, axes, scales, sizes)
    n = len(axes)
    region = roi.array if roi is not None and roi.array.size else None
    y = x
    for i, axis in enumerate(axes):
        bounds = (0.0, 1.0) if region is None else (float(region[i]), float(region[n + i]))
        if shape[i] != x.shape[axis] or not math.isclose(factors[i], 1.0) or bounds != (0.0, 1.0):
            y = _resized(node, y, axis, shape[i], factors[i], bounds)
    return y if x.is_float else x.tape.value(_saturated(y.array, x.array.dtype))


def _saturated(array: Array, dtype: np.dtype[Any]) -> Array:
    if dtype.kind == "b":
        return np.asarray(array != 0)
    info = np.iinfo(dtype)
    return np.asarray(np.clip(np.trunc(array), info.min, info.max).astype(dtype))


def _sizes(
    node: Node, x: Value, axes: Sequence[int], scales: Value | None, sizes: Value | None
) -> tuple[list[int], list[float]]:
    """Size and scale of each resized axis."""
    lengths = [x.shape[a] for a in axes]
    if sizes is None or not sizes.array.size:
        assert scales is not None
        factors = [float(s) for s in scales.array]
        return [math.floor(n * s) for n, s in zip(lengths, factors, strict=True)], factors
    wanted = [int(s) for s in sizes.array]
    factors = [w / n for w, n in zip(wanted, lengths, strict=True)]
    policy = node.attr("keep_aspect_ratio_policy") or "stretch"
    if policy == "stretch":
        return wanted, factors
    one = min(factors) if policy == "not_larger" else max(factors)
    return [int(one * n + 0.5) for n in lengths], [one] * len(axes)


def _resized(node: Node, x: Value, axis: int, size: int, scale: float, bounds: tuple[float, float]) -> Value:
    t, length = x.tape, x.shape[axis]
    source = _source(node.attr("coordinate_transformation_mode"), size, scale, length, bounds)
    mode = node.attr("mode")
    if mode == "nearest":
        index = np.clip(_nearest(t, node.attr("nearest_mode"), source, float(np.float32(scale)) == scale), 0, length - 1)[:, None]
        weights = np.ones(index.shape)
    else:
        index, weights = _weights(node, t, source, scale, mode)
        if node.attr("exclude_outside"):
            weights = np.where((index < 0) | (index >= length), 0.0, weights)
            total = weights.sum(-1, keepdims=True)
            weights = t.rounded(weights / np.where(total == 0, 1.0, total))
        index = np.clip(index, 0, length - 1)
    flat = np.moveaxis(np.arange(x.array.size).reshape(x.shape), axis, -1)[..., index]
    data = x if x.is_float else t.value(x.array.astype(np.float64))
    y = p.take(data, flat)
    y = p.reshape(y, y.shape[:-1]) if mode == "nearest" else p.total(p.mul(y, weights), (-1,))
    if node.attr("coordinate_transformation_mode") == "tf_crop_and_resize":
        y = p.where((source < 0) | (source > length - 1), float(node.attr("extrapolation_value")), y)
    order = list(range(x.ndim - 1))
    order.insert(axis, x.ndim - 1)
    return p.transpose(y, order)


def _source(mode: str | None, size: int, scale: float, length: int, bounds: tuple[float, float]) -> Array:
    """Where each output element lies on the input axis."""
    y = np.arange(size, dtype=np.float64)
    whole = scale * length
    match mode:
        case "align_corners":
            return np.zeros(size) if whole == 1 else y * (length - 1) / (whole - 1)
        case "asymmetric":
            return y / scale
        case "tf_crop_and_resize":
            start, end = bounds
            if whole == 1:
                return np.full(size, 0.5 * (start + end) * (length - 1))
            return start * (length - 1) + y * (end - start) * (length - 1) / (whole - 1)
        case "half_pixel_symmetric":
            return length / 2 * (1 - size / whole) + (y + 0.5) / scale - 0.5
        case "pytorch_half_pixel" if whole <= 1:
            return np.zeros(size)
        case "tf_half_pixel_for_nn":
            return (y + 0.5) / scale
        case "half_pixel" | "pytorch_half_pixel" | None:
            return (y + 0.5) / scale - 0.5
        case _:
            raise NotImplementedError(f"the oracle knows no coordinate_transformation_mode {mode!r}")


def _nearest(t: Tape, mode: str, x: Array, exact: bool) -> Array:
    """The element next to a place. A place that misses the border between two elements by rounding is on either side; one that hits
    it, with a scale that is exact in float32, is where the mode says."""
    half = 0.5 if mode in ("round_prefer_floor", "round_prefer_ceil") else 0.0
    border = np.rint(x - half) + half
    ulps = 1.0 if t.noise is None else t.noise.accumulator / t.noise.unit  # places are no half precision
    moved = t.rounded(t.rounded(x + 0.5, ulps) - 0.5, ulps)
    flips = t.kinks.decide(np.where(exact & (x == border), 1.0, np.abs(moved - border)))  # x itself has no noise: no side
    if mode in ("floor", "round_prefer_ceil"):
        index, both = np.floor(x + half), 2 * (border + half) - 1
    else:
        index, both = np.ceil(x - half), 2 * (border - half) + 1
    return np.asarray(np.where(flips, both - index, index).astype(np.int64))


def _weights(node: Node, t: Tape, source: Array, scale: float, mode: str) -> tuple[Array, Array]:
    """Positions and weights (size, taps); a float32 kernel computes the coordinate in float32 too."""
    reach, filter_ = (1, _triangle) if mode == "linear" else (2, _cubic)
    shrink = min(1.0, scale) if node.attr("antialias") else 1.0
    first = np.floor(source - reach / shrink).astype(np.int64) + 1
    count = int(np.ceil(2 * reach / shrink)) + 1
    index = first[:, None] + np.arange(count)
    moved = t.rounded(t.rounded(source + 0.5) - 0.5)[:, None]
    weights = t.rounded(filter_(t.rounded((index - moved) * shrink), float(node.attr("cubic_coeff_a") or -0.75)), 2)
    if node.attr("antialias"):
        weights = t.rounded(weights / weights.sum(-1, keepdims=True))
    return index, weights


def _triangle(x: Array, a: float) -> Array:
    return np.asarray(np.maximum(0.0, 1.0 - np.abs(x)))


def _cubic(x: Array, a: float) -> Array:
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


@ORACLE.rule("Upsample", since=7)
def _upsample(node: Node, x: Value, scales: Value | None = None) -> Value:
    factors = scales.array if scales is not None else np.asarray(node.attr("scales"))
    attributes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor", "mode": node.attr("mode")}
    inner = Node("Resize", "", 11, node.name, attributes, node.input_names, node.output_names, node.inputs, node.outputs, {})
    return _resize(inner, x, None, x.tape.value(factors))


# -- GridSample --------------------------------------------------------------------------------------------------------


@ORACLE.rule("GridSample", since=16)
def _grid_sample(node: Node, x: Value, grid: Value) -> Value:
    sizes = x.shape[2:]
    align, padding = bool(node.attr("align_corners")), node.attr("padding_mode")
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(node.attr("mode"), node.attr("mode"))
    taps: list[list[Tap]] = []
    for axis, size in enumerate(sizes):
        g = p.expand_dims(p.pick(grid, (..., len(sizes) - 1 - axis)), 1)  # type: ignore[arg-type]
        taps.append(_grid_taps(_denormalized(g, size, align), size, mode, padding, align))
    outside = {"zeros": nothing, "border": nearest_inside, "reflection": _mirror(align)}[padding]
    lead = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *(1,) * len(sizes))
    return read(x, lead, taps, sizes, outside)


def _denormalized(g: Value, size: int, align: bool) -> Value:
    if align:
        return p.mul(p.div(p.add(g, 1.0), 2.0), float(size - 1))
    return p.div(p.sub(p.mul(p.add(g, 1.0), float(size)), 1.0), 2.0)


def _grid_taps(x: Value, size: int, mode: str, padding: str, align: bool) -> list[Tap]:
    low, high = (0.0, size - 1.0) if align else (-0.5, size - 0.5)
    if mode == "nearest":
        return _nearest_tap(x, low, high, size, padding)
    held: Array | bool = False
    if padding != "zeros":
        under, over = p.step(p.neg(x), -low), p.step(x, high)
        if padding == "border":
            x, held = p.where(under, 0.0, p.where(over, size - 1.0, x)), under | over
        else:
            x = p.where(under | over, _reflected(x, low, high), x)
    return linear_taps(x, held) if mode == "linear" else cubic_taps(x)


def _nearest_tap(x: Value, low: float, high: float, size: int, padding: str) -> list[Tap]:
    """Rounded, halves to even; the decision is taken before what lies outside is brought in."""
    shifted = x.array - 0.5
    whole = np.rint(x.array)
    flips = x.tape.kinks.decide(np.abs(shifted - np.rint(shifted)), whole)
    whole = np.where(flips, np.where(x.array > whole, whole + 1, whole - 1), whole)
    outside = (whole < low) | (whole > high)
    if padding == "border":
        whole = np.where(outside, np.clip(whole, 0, size - 1), whole)
    elif padding == "reflection":
        whole = np.where(outside, np.trunc(_reflected(x.tape.value(whole), low, high).array), whole)
    return [(whole, x.tape.value(np.ones(whole.shape)))]


def _reflected(x: Value, low: float, high: float) -> Value:
    """A triangle wave between two borders."""
    span = high - low
    turn = np.floor((x.array - low) / span)
    odd = turn % 2 == 1
    ahead = p.sub(x, low + turn * span)
    return p.add(p.where(odd, p.sub(span, ahead), ahead), low)


def _mirror(align: bool) -> Outside:
    def outside(position: Array, size: int) -> Array:
        low, span = (0.0, size - 1.0) if align else (-0.5, float(size))
        if span == 0:
            return np.zeros_like(position)
        ahead = (position - low) % (2 * span)
        return np.clip(np.where(ahead > span, 2 * span - ahead, ahead) + low, 0, size - 1)

    return outside


@ORACLE.rule("AffineGrid", since=20)
def _affine_grid(node: Node, theta: Value, size: Value) -> Value:
    sizes = [int(s) for s in size.array[2:]]
    t = theta.tape
    lines = []
    for n in reversed(sizes):
        if node.attr("align_corners"):
            lines.append(np.linspace(-1.0, 1.0, n) if n > 1 else np.full(n, -1.0))
        else:
            lines.append((2.0 * np.arange(n) + 1.0) / n - 1.0)
    mesh = np.meshgrid(*reversed(lines), indexing="ij")
    points = np.stack([*(t.rounded(m.reshape(-1)) for m in reversed(mesh)), np.ones(mesh[0].size)], -1)
    y = p.matmul(t.value(points), p.swap(theta, 1, 2))
    return p.reshape(y, (theta.shape[0], *sizes, len(sizes)))
