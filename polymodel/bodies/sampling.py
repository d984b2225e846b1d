"""Values at places between elements: GridSample, and what other operators that interpolate share with it.

1. The input is held as rows, one for each pixel of each image, with all channels in a row. What a place sees are some
   rows (1 for nearest, 2^r for linear, 4^r for cubic interpolation over r axes), taken by one Gather and added up with
   weights.
2. With padding_mode zeros the images get a frame of zeros, and places outside see the frame.
3. The derivative by a place comes from the weights; which rows are seen does not change with it.
4. Places are computed in the grid's element type, in float32 where that is smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from polymodel.bodies.table import BODIES, Body
from polymodel.errors import GraphError
from polymodel.feeds import is_float
from polymodel.plan import Node

_CUBIC = -0.75  # the standard's coefficient for GridSample


@final
@dataclass(frozen=True)
class Along:
    """What each place sees along one axis.

    Attributes:
        index: names of (..., ) int64 values, places in the axis of the stored images.
        weight: names of the weights of these; empty where the only weight is 1.
        size: elements of that axis of the stored images.
    """

    index: tuple[str, ...]
    weight: tuple[str, ...]
    size: int


def rows(b: Body, x: str, frame: int = 0) -> str:
    """Images (N, C, D1, ..., Dr) as rows (N * D1 * ... * Dr, C), with a frame of zeros around each image."""
    n, c, *sizes = _static(b, x)
    rank = len(sizes)
    if frame:
        pads = [0, 0, *[frame] * rank, 0, 0, *[frame] * rank]
        x = b.call("Pad", x, b.constant(pads, "int64"), mode="constant")
    flat = b.reshape(x, (n, c, int(np.prod([d + 2 * frame for d in sizes]))))
    return b.reshape(b.call("Transpose", flat, perm=[0, 2, 1]), (-1, c))


def _static(b: Body, x: str) -> tuple[int, ...]:
    shape = b.spec(x).shape
    assert all(isinstance(d, int) for d in shape)
    return tuple(int(d) for d in shape)  # type: ignore[arg-type]


def gather(b: Body, table: str, axes: Sequence[Along], shape: tuple[int, int]) -> str:
    """The weighted sum of the rows that each place sees.

    Args:
        b: takes the calls.
        table: rows of `shape[0]` images, (images * pixels, C).
        axes: one for each spatial axis; places have the shape `shape`.
        shape: (images, places of each image).

    Returns:
        (images, places, C) in the element type of the rows.
    """
    images, places = shape
    pixels = int(np.prod([a.size for a in axes]))
    channels = _static(b, table)[1]
    index, weight = _crossed(b, axes, shape)
    taps = int(np.prod([len(a.index) for a in axes]))
    start = b.constant((np.arange(images) * pixels).reshape(-1, 1, 1), "int64")
    index = b.call("Add", index, start) if images > 1 else index
    seen = b.call("Gather", table, b.reshape(index, (-1,)), axis=0)
    if not weight:
        return b.reshape(seen, (images, places, channels))
    seen = b.reshape(seen, (images, places, taps, channels))
    weight = b.reshape(b.cast(weight, b.spec(table).dtype), (images, places, taps, 1))
    return b.call("ReduceSum", b.call("Mul", seen, weight), b.constant([2], "int64"), keepdims=0)


def _crossed(b: Body, axes: Sequence[Along], shape: tuple[int, int]) -> tuple[str, str]:
    """Flat index and weight (images, places, taps) of every combination of what is seen along each axis."""
    index = weight = ""
    count = 1
    for along in axes:
        own = _stacked(b, along.index, shape)
        k = len(along.index)
        if index:
            scaled = b.call("Mul", index, b.constant(along.size, "int64"))
            index = _outer(b, "Add", scaled, own, shape, count, k)
            weight = _outer(b, "Mul", weight, _stacked(b, along.weight, shape), shape, count, k) if weight else ""
        else:
            index = own
            weight = _stacked(b, along.weight, shape) if along.weight else ""
        count *= k
    return index, weight


def _stacked(b: Body, names: Sequence[str], shape: tuple[int, int]) -> str:
    parts = [b.reshape(n, (*shape, 1)) for n in names]
    return parts[0] if len(parts) == 1 else b.call("Concat", *parts, axis=2)


def _outer(b: Body, op_type: str, left: str, right: str, shape: tuple[int, int], m: int, k: int) -> str:
    if m == 1 or k == 1:
        return b.call(op_type, left, right)
    pair = b.call(op_type, b.reshape(left, (*shape, m, 1)), b.reshape(right, (*shape, 1, k)))
    return b.reshape(pair, (*shape, m * k))


def number(b: Body, value: float, like: str) -> str:
    """A scalar constant in the element type of another value."""
    return b.constant(np.float64(value), b.spec(like).dtype)


def linear(b: Body, place: str, size: int) -> Along:
    """The two elements around a place, of an axis with a frame of one zero at each end."""
    place = b.call("Clip", place, number(b, -1.0, place), number(b, float(size), place))
    below = b.call("Floor", place)
    ratio = b.call("Sub", place, below)
    first = b.call("Add", b.cast(below, "int64"), b.constant(1, "int64"))
    index = tuple(_held(b, first, t, 0, size + 1) for t in (0, 1))
    return Along(index, (b.call("Sub", number(b, 1.0, place), ratio), ratio), size + 2)


def _held(b: Body, index: str, shift: int, low: int, high: int) -> str:
    """An index moved and held in a range (what is not a number must not read outside of the rows either)."""
    moved = b.call("Add", index, b.constant(shift, "int64")) if shift else index
    return b.call("Min", b.call("Max", moved, b.constant(low, "int64")), b.constant(high, "int64"))


@final
@dataclass(frozen=True)
class Sampler:
    """The attributes of a GridSample call."""

    mode: str
    padding: str
    corners: bool

    @property
    def frame(self) -> int:
        """Width of the frame of zeros."""
        return 1 if self.padding == "zeros" else 0

    def along(self, b: Body, place: str, size: int) -> Along:
        """What normalized coordinates see of an axis."""
        half = number(b, 0.5, place)
        one = b.call("Add", place, number(b, 1.0, place))
        if self.corners:  # -1 and 1 are the centres of the first and last element
            place = b.call("Mul", one, number(b, (size - 1) / 2, place))
        else:  # they are the outer edges of these
            place = b.call("Sub", b.call("Mul", one, number(b, size / 2, place)), half)
        if self.mode == "nearest":
            place = b.call("Round", place)
        place = self._inside(b, place, size)
        if self.mode == "nearest":
            return Along((self._stored(b, b.cast(place, "int64"), 0, size),), (), size + 2 * self.frame)
        below = b.call("Floor", place)
        ratio, first = b.call("Sub", place, below), b.cast(below, "int64")
        if self.mode in ("linear", "bilinear"):
            shifts: tuple[int, ...] = (0, 1)
            weights: tuple[str, ...] = (b.call("Sub", number(b, 1.0, place), ratio), ratio)
        elif self.mode in ("cubic", "bicubic"):
            shifts, weights = (-1, 0, 1, 2), tuple(_cubic(b, ratio, t) for t in (-1, 0, 1, 2))
        else:
            raise GraphError(f"{b.node}: GridSample has the modes linear, nearest and cubic, received {self.mode!r}")
        return Along(tuple(self._stored(b, first, t, size) for t in shifts), weights, size + 2 * self.frame)

    def _inside(self, b: Body, place: str, size: int) -> str:
        """Places brought into the image, as the reference evaluator does it: those more than half an element outside."""
        low, high = (0.0, size - 1.0) if self.corners else (-0.5, size - 0.5)
        if self.padding == "zeros":  # far outside it does not matter how far
            return b.call("Clip", place, number(b, -3.0, place), number(b, size + 2.0, place))
        if self.padding == "border":
            held = b.call("Clip", place, number(b, 0.0, place), number(b, size - 1.0, place))
            if self.mode not in ("cubic", "bicubic"):
                return held
        elif self.padding == "reflection":
            held = self._reflected(b, place, low, high)
        else:
            raise GraphError(
                f"{b.node}: GridSample has the padding modes zeros, border and reflection, received {self.padding!r}"
            )
        beyond = b.call("Or", b.call("Less", place, number(b, low, place)), b.call("Greater", place, number(b, high, place)))
        return b.call("Where", beyond, held, place)

    def _reflected(self, b: Body, place: str, low: float, high: float) -> str:
        """low + |distance from low, folded at high|: a triangle wave."""
        span = high - low
        if span == 0:
            return number(b, low, place)
        past = b.call("Sub", place, number(b, low, place))
        turns = b.call("Floor", b.call("Mul", past, number(b, 1 / (2 * span), place)))
        rest = b.call("Sub", past, b.call("Mul", turns, number(b, 2 * span, place)))
        back = b.call("Abs", b.call("Sub", rest, number(b, span, place)))
        return b.call("Sub", number(b, high, place), back)

    def _stored(self, b: Body, first: str, shift: int, size: int) -> str:
        """Where the stored images hold the element `shift` after another."""
        if self.padding == "zeros":
            return _held(b, first, shift + 1, 0, size + 1)
        if self.padding == "border" or size == 1:
            return _held(b, first, shift, 0, size - 1)
        moved = b.call("Add", first, b.constant(shift, "int64")) if shift else first
        # -1 is 1 with align_corners and 0 without: one whole turn has 2 (size - 1) or 2 size elements.
        turn = 2 * (size - 1) if self.corners else 2 * size
        moved = b.call("Mod", moved, b.constant(turn, "int64"))
        other = b.call("Sub", b.constant(turn if self.corners else turn - 1, "int64"), moved)
        return _held(b, b.call("Min", moved, other), 0, 0, size - 1)


def _cubic(b: Body, ratio: str, shift: int) -> str:
    """Weight of the element `shift` after the one below a place; Keys, Equation (4)."""
    a = _CUBIC
    distance = ratio if shift <= 0 else b.call("Sub", number(b, 1.0, ratio), ratio)
    if shift in (-1, 2):
        # a d^3 - 5 a d^2 + 8 a d - 4 a at d + 1 is a d (d - 1)^2
        less = b.call("Sub", distance, number(b, 1.0, ratio))
        return b.call("Mul", b.call("Mul", number(b, a, ratio), distance), b.call("Mul", less, less))
    square = b.call("Mul", distance, distance)
    inner = b.call("Sub", b.call("Mul", number(b, a + 2, ratio), distance), number(b, a + 3, ratio))
    return b.call("Add", b.call("Mul", inner, square), number(b, 1.0, ratio))


@BODIES.rule("GridSample", since=16)
def grid_sample(b: Body, node: Node, x: str, grid: str) -> str:
    n, channels, *sizes = node.shape(0)
    *out, rank = node.shape(1)[1:]
    places = int(np.prod(out))
    if 0 in (n, channels, *out):
        return b.constant(np.zeros((n, channels, *out)), node.dtype())
    sampler = Sampler(str(node.attr("mode")), str(node.attr("padding_mode")), bool(node.attr("align_corners")))
    dtype = node.dtype(0)
    exact = sampler.mode == "nearest"
    work = dtype if exact or (is_float(dtype) and dtype not in ("float16", "bfloat16")) else "float32"
    if not exact and not is_float(dtype):
        work = "float64"
    if node.dtype(1) in ("float16", "bfloat16"):
        grid = b.cast(grid, "float32")
    flat = b.reshape(grid, (n, places, rank))
    columns = b.calls("Split", flat, None, outputs=rank, axis=2, num_outputs=rank) if rank > 1 else (flat,)
    axes = [sampler.along(b, b.reshape(c, (n, places)), size) for c, size in zip(reversed(columns), sizes, strict=True)]
    y = gather(b, rows(b, b.cast(x, work), sampler.frame), axes, (n, places))
    y = b.reshape(b.call("Transpose", y, perm=[0, 2, 1]), (n, channels, *out))
    return b.cast(y, dtype)


@BODIES.rule("AffineGrid", since=20)
def affine_grid(b: Body, node: Node, theta: str, size: str) -> str:
    """Centres of the pixels between -1 and 1, (x, y[, z], 1), times the matrices transposed."""
    sizes = [int(n) for n in node.const(1)][2:]
    axes = []
    for n in sizes:
        if node.attr("align_corners"):
            axes.append(np.linspace(-1, 1, n))
        else:
            axes.append((2 * np.arange(n) + 1) / n - 1)
    mesh = np.meshgrid(*axes, indexing="ij")
    base = np.stack([*reversed(mesh), np.ones(sizes)], -1).reshape(1, -1, len(sizes) + 1)
    grid = b.call("MatMul", b.constant(base, node.dtype()), b.call("Transpose", theta, perm=[0, 2, 1]))
    return b.reshape(grid, (-1, *sizes, len(sizes)))
