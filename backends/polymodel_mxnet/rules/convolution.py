"""Conv and ConvTranspose in one, two and three dimensions.

`_npx_convolution` is right in every configuration. `_npx_deconvolution` is used for float32 in one and two dimensions;
it is wrong in float64 with stride and dilation 2, missing in three dimensions, and fails where it wants to reorder a
weight that lies in the flat array of all parameters. There ConvTranspose is a Conv by the parts of the weight that fall
on the same places between the strides, whose results are interleaved; with dilations or in three dimensions, a Conv of the
input with zeros in between.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from polymodel import windows
from polymodel.plan import Node
from polymodel_mxnet.rules.movement import pad_zero
from polymodel_mxnet.rules.table import TABLE
from polymodel_mxnet.symbols import Symbol, concat, constant, cut, op, reshape, transpose

Ints = tuple[int, ...]


def window(node: Node, kernel: Ints) -> tuple[Ints, Ints, list[tuple[int, int]]]:
    """Strides, dilations and pads (before, after) of every spatial axis, auto_pad resolved."""
    win = windows.window(node, kernel)
    return win.strides, win.dilations, win.pads


def convolve(
    x: Symbol, weight: Symbol, bias: Symbol | None, kernel: Ints, filters: int, groups: int = 1, **geometry: Ints
) -> Symbol:
    """MXNet's convolution; geometry is stride, dilate and pad."""
    inputs = (x, weight) if bias is None else (x, weight, bias)
    return op(
        "_npx_convolution", *inputs, kernel=kernel, num_filter=filters, num_group=groups, no_bias=bias is None,
        **geometry,
    )  # fmt: skip


@TABLE.rule("Conv", since=1)
def conv(node: Node, x: Symbol, weight: Symbol, bias: Symbol = None) -> Symbol:
    kind = node.dtype()
    filters, kernel = node.dim(1, 0), node.shape(1)[2:]
    strides, dilations, pads = window(node, kernel)
    groups = int(node.attr("group"))
    if 0 in node.shape(0) or 0 in node.shape(1):
        zero = constant(np.zeros(node.out_shape(), kind))
        return zero if bias is None else op("_npi_add", zero, reshape(bias, (filters, *[1] * len(kernel))))
    if any(a != b for a, b in pads):
        x = pad_zero(x, node.shape(), [(0, 0), (0, 0), *pads], 0.0, kind)
        pads = [(0, 0)] * len(pads)
    geometry = {"stride": strides, "dilate": dilations, "pad": tuple(a for a, _ in pads)}
    if len(kernel) == 1 and kind == "float32":
        length = node.dim(0, 2) + sum(a + b for a, b in window(node, kernel)[2]) - 2 * geometry["pad"][0]
        return _as_rows(node, x, weight, bias, length, geometry)
    return convolve(x, weight, bias, kernel, filters, groups, **geometry)


def _as_rows(node: Node, x: Symbol, weight: Symbol, bias: Symbol | None, length: int, geometry: dict[str, Ints]) -> Symbol:
    """A convolution along one axis as one over images of height 1.

    What oneDNN leaves in its blocked layout with three axes, batch normalization, transposition and others fail on.
    """
    batch, channels = node.shape()[:2]
    filters, per_group, size = node.shape(1)
    x = reshape(x, (batch, channels, 1, length))
    weight = reshape(weight, (filters, per_group, 1, size))
    flat = {k: (0 if k == "pad" else 1, *v) for k, v in geometry.items()}
    y = convolve(x, weight, bias, (1, size), filters, int(node.attr("group")), **flat)
    return op("Reshape", y, shape=node.out_shape())


@TABLE.rule("ConvTranspose", since=1)
def conv_transpose(node: Node, x: Symbol, weight: Symbol, bias: Symbol = None) -> Symbol:
    kind, groups = node.dtype(), int(node.attr("group"))
    kernel, count = node.shape(1)[2:], node.rank() - 2
    filters = node.dim(1, 1) * groups
    strides = tuple(node.attr("strides") or (1,) * count)
    dilations = tuple(node.attr("dilations") or (1,) * count)
    out = node.out_shape()[2:]
    full = [(n - 1) * s + (k - 1) * d + 1 for n, k, s, d in zip(node.shape()[2:], kernel, strides, dilations, strict=True)]
    if kind == "float64" or count > 2 or not node.is_const(1):
        dense = max(dilations) == 1 < max(strides) and count < 3
        y = _interleaved(node, x, weight, strides, full) if dense else _stuffed(node, x, weight, strides, dilations)
    else:
        y = op(
            "_npx_deconvolution", x, weight, kernel=kernel, stride=strides, dilate=dilations, num_filter=filters,
            num_group=groups, no_bias=True,
        )  # fmt: skip
    y = _fit(node, y, full, out, (node.dim(0, 0), filters), kind)
    if bias is not None:
        y = op("_npi_add", y, reshape(bias, (filters, *[1] * count)))
    return y


def _fit(node: Node, y: Symbol, full: list[int], out: Ints, lead: Ints, kind: str) -> Symbol:
    """Cut the pads from the full result, or extend it by zeros where output_padding or output_shape reach further."""
    sizes = list(full)
    for i, before in enumerate(_begin(node, full, out)):
        axis, begin, end = i + 2, max(before, 0), min(before + out[i], full[i])
        if (begin, end) != (0, full[i]):
            y = cut(y, axis, begin, end)
        sizes[i] = end - begin
        front, back = max(-before, 0), out[i] - sizes[i] - max(-before, 0)
        if front or back:
            width = [(0, 0)] * (len(full) + 2)
            width[axis] = (front, back)
            y = pad_zero(y, (*lead, *sizes), width, 0.0, kind)
            sizes[i] = out[i]
    return y


def _begin(node: Node, full: list[int], out: Ints) -> list[int]:
    """What is cut at the front of every axis."""
    count = len(full)
    mode = node.attr("auto_pad") or "NOTSET"
    if mode == "NOTSET" and not node.attr("output_shape"):
        return list((node.attr("pads") or (0,) * (2 * count))[:count])
    if mode == "VALID":
        return [0] * count
    extra = node.attr("output_padding") or (0,) * count
    total = [f + e - o for f, e, o in zip(full, extra, out, strict=True)]
    return [max(t // 2 if mode == "SAME_UPPER" else t - t // 2, 0) for t in total]


def _interleaved(node: Node, x: Symbol, weight: Symbol, strides: Ints, full: list[int]) -> Symbol:
    """Element q s + r of the result is a sum over taps t of x[q - t] w[t s + r]: a convolution for each r, all done as one."""
    batch, channels, *sizes = node.shape()
    per_group, kernel = node.dim(1, 1), node.shape(1)[2:]
    groups, count = int(node.attr("group")), len(kernel)
    taps = [-(-k // s) for k, s in zip(kernel, strides, strict=True)]
    beyond = [(0, t * s - k) for t, s, k in zip(taps, strides, kernel, strict=True)]
    weight = pad_zero(weight, node.shape(1), [(0, 0), (0, 0), *beyond], 0.0, node.dtype())
    places = [n for pair in zip(taps, strides, strict=True) for n in pair]
    weight = transpose(reshape(weight, (groups, channels // groups, per_group, math.prod(places))), (0, 2, 1, 3))
    weight = reshape(weight, (groups, per_group * channels // groups, *places))  # MXNet transposes six axes at most
    weight = transpose(weight, (0, *range(3, 3 + 2 * count, 2), 1, *range(2, 2 + 2 * count, 2)))
    weight = op("_npi_flip", weight, axis=tuple(range(2 + count, 2 + 2 * count)))
    filters = groups * math.prod(strides) * per_group
    weight = reshape(weight, (filters, channels // groups, *taps))
    pad = tuple(t - 1 for t in taps)
    y = convolve(x, weight, None, tuple(taps), filters, groups, stride=(1,) * count, dilate=(1,) * count, pad=pad)
    rows = [n + t - 1 for n, t in zip(sizes, taps, strict=True)]
    y = op("Reshape", y, shape=(batch * groups, *strides, per_group, *rows))
    order = (n for axes in zip(range(2 + count, 2 + 2 * count), range(1, 1 + count), strict=True) for n in axes)
    y = transpose(y, (0, 1 + count, *order))
    y = reshape(y, (batch, groups * per_group, *(n * s for n, s in zip(rows, strides, strict=True))))
    for axis, (size, row, stride) in enumerate(zip(full, rows, strides, strict=True), 2):
        y = cut(y, axis, 0, size) if size != row * stride else y
    return y


def _stuffed(node: Node, x: Symbol, weight: Symbol, strides: Ints, dilations: Ints) -> Symbol:
    """A convolution of the input with stride - 1 zeros between elements by the flipped weight."""
    sizes, kind = list(node.shape()), node.dtype()
    for axis, stride in enumerate(strides, 2):
        if stride > 1:
            x = _spread(x, sizes, axis, stride, kind)
            sizes[axis] = (sizes[axis] - 1) * stride + 1
    channels, per_group, *kernel = node.shape(1)
    groups = int(node.attr("group"))
    weight = reshape(weight, (groups, channels // groups, per_group, int(np.prod(kernel))))
    weight = op("_npi_flip", transpose(weight, (0, 2, 1, 3)), axis=(3,))
    weight = reshape(weight, (groups * per_group, channels // groups, *kernel))
    pad = tuple((k - 1) * d for k, d in zip(kernel, dilations, strict=True))
    return convolve(
        x, weight, None, tuple(kernel), groups * per_group, groups, stride=(1,) * len(kernel), dilate=dilations, pad=pad
    )


def _spread(x: Symbol, sizes: Sequence[int], axis: int, stride: int, kind: str) -> Symbol:
    lead, size, tail = int(np.prod(sizes[:axis])), sizes[axis], int(np.prod(sizes[axis + 1 :]))
    y = concat([reshape(x, (lead, size, 1, tail)), constant(np.zeros((lead, size, stride - 1, tail), kind))], 2)
    y = cut(reshape(y, (lead, size * stride, tail)), 1, 0, (size - 1) * stride + 1)
    return reshape(y, (*sizes[:axis], (size - 1) * stride + 1, *sizes[axis + 1 :]))
