"""Weights of audio signals, and running products."""

from __future__ import annotations

import numpy as np

from polymodel.bodies.table import BODIES, Body
from polymodel.plan import Node
from polymodel.spec import numpy_dtype


@BODIES.rule("MelWeightMatrix", since=17)
def mel_weight_matrix(b: Body, node: Node, *inputs: str) -> str:
    """(dft_length // 2 + 1, num_mel_bins): a triangle for each bin, on the scale 2595 log10(1 + f / 700)."""
    bins, length, rate = (int(node.const(i).reshape(())) for i in range(3))
    low, high = (2595 * np.log10(1 + float(node.const(i).reshape(())) / 700) for i in (3, 4))
    edges = 700 * (10 ** ((np.arange(bins + 2) * ((high - low) / (bins + 2)) + low) / 2595) - 1)
    edges = ((length + 1) * edges // rate).astype(np.int64)
    place = np.arange(length // 2 + 1)[:, None]
    left, center, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (place >= left) & (place <= center)
    with np.errstate(all="ignore"):
        up = np.where(center > left, (place - left) / (center - left), 1.0)
        down = (right - place) / (right - center)
    matrix = np.where(rising, up, 0.0)
    matrix = np.where((place >= center) & (place < right), down, matrix)
    return b.constant(matrix.astype(numpy_dtype(node.outputs[0].dtype)))


@BODIES.rule("CumProd", since=26)
def cumulative_product(b: Body, node: Node, x: str, axis: str) -> str:
    """Each element times the one 1, 2, 4, ... places before: no division, so zeros have right derivatives."""
    where = int(node.const(1).reshape(())) % node.rank()
    size = node.dim(0, where)
    if node.attr("reverse"):
        x = _flip(b, x, where)
    if node.attr("exclusive"):
        x = _shift(b, node, x, where, 1)
    distance = 1
    while distance < size:
        x = b.call("Mul", x, _shift(b, node, x, where, distance))
        distance *= 2
    return _flip(b, x, where) if node.attr("reverse") else x


def _flip(b: Body, x: str, axis: int) -> str:
    return b.call("Slice", x, *(b.constant([v], "int64") for v in (-1, -(2**31) + 1, axis, -1)))


def _shift(b: Body, node: Node, x: str, axis: int, distance: int) -> str:
    """Elements moved towards the end of an axis, ones in front."""
    shape = list(node.shape())
    size, shape[axis] = shape[axis], min(distance, shape[axis])
    ones = b.constant(np.ones(shape), node.dtype())
    if distance >= size:
        return ones
    front = b.call("Slice", x, *(b.constant([v], "int64") for v in (0, size - distance, axis)))
    return b.call("Concat", ones, front, axis=axis)
