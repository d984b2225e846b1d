"""Resize and Upsample, one axis after the other.

1. Nearest is a Gather; where an axis gets longer by a whole factor, copies are made by Expand.
2. Linear and cubic are one product with a constant matrix for each axis, although most of its elements are 0: frameworks
   multiply matrices faster than they gather. The price: a value that is not finite reaches the whole row or column. Axes
   whose matrix would be large add up Gathers.
3. Weights are computed in float64 and stored in the tensor's element type.
4. Integers are interpolated in floating point, rounded to even and held in the range of their type.
5. Only the axes that change need a known size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from polymodel.bodies.interpolation import Interpolation, Taps
from polymodel.bodies.table import BODIES, Body
from polymodel.errors import GraphError
from polymodel.feeds import is_float
from polymodel.plan import Node
from polymodel.spec import numpy_dtype

_LARGE = 1 << 22
"""Elements of the largest matrix."""


@final
@dataclass(frozen=True)
class AxisPlan:
    """One axis of a resizing call that changes.

    Attributes:
        axis: counted from the front.
        size, count: elements before and after.
        scale: factor as the standard's formulas take it.
        roi: start and end of the region, relative to the axis.
    """

    axis: int
    size: int
    count: int
    scale: float
    roi: tuple[float, float] = (0.0, 1.0)


def interpolation(node: Node) -> Interpolation:
    """The attributes of a Resize call."""
    mode = str(node.attr("mode"))
    if mode == "nearest" and node.attr("antialias"):
        raise GraphError(f"{node}: antialias=1 needs mode linear or cubic, received nearest")
    return Interpolation(
        mode, str(node.attr("coordinate_transformation_mode")), str(node.attr("nearest_mode")),
        float(node.attr("cubic_coeff_a")), bool(node.attr("antialias")), bool(node.attr("exclude_outside")),
    )  # fmt: skip


def resized_axes(node: Node) -> list[AxisPlan]:
    """The axes of a Resize call that change, in the order of the call.

    Raises:
        NeedsStaticShape: scales, sizes, roi or the size of a changing axis are unknown.
    """
    axes = [int(a) % node.rank() for a in node.attr("axes") or range(node.rank())]
    roi = _roi(node, len(axes))
    if _given(node, 3):
        counts = [int(n) for n in node.const(3)]
        sizes = [node.dim(0, a) for a in axes]
        scales = [n / max(s, 1) for n, s in zip(counts, sizes, strict=True)]
        policy = node.attr("keep_aspect_ratio_policy") or "stretch"
        if policy != "stretch":
            scales = [(min if policy == "not_larger" else max)(scales)] * len(axes)
            counts = [int(s * n + 0.5) for s, n in zip(scales, sizes, strict=True)]
    else:
        if not _given(node, 2):
            raise GraphError(f"{node}: Resize needs scales or sizes")
        scales = [float(s) for s in node.const(2)]
        sizes = [1 if s == 1.0 and r == (0.0, 1.0) else node.dim(0, a) for a, s, r in zip(axes, scales, roi, strict=True)]
        counts = [int(s * n) for s, n in zip(scales, sizes, strict=True)]
    plans = [AxisPlan(*parts) for parts in zip(axes, sizes, counts, scales, roi, strict=True)]
    return [p for p in plans if p.size != p.count or not np.isclose(p.scale, 1.0, 1e-9, 0) or p.roi != (0.0, 1.0)]


def _given(node: Node, i: int) -> bool:
    """Whether scales or sizes say something: an empty list is the old way to leave one out."""
    return node.has_input(i) and node.spec(i).shape != (0,)


def _roi(node: Node, count: int) -> list[tuple[float, float]]:
    if node.attr("coordinate_transformation_mode") != "tf_crop_and_resize":
        return [(0.0, 1.0)] * count
    if not _given(node, 1):
        raise GraphError(f"{node}: coordinate_transformation_mode tf_crop_and_resize needs roi")
    roi = [float(v) for v in node.const(1)]
    return list(zip(roi[:count], roi[count:], strict=True))


@BODIES.rule("Resize", since=11)
def resize(b: Body, node: Node, x: str, *settings: str) -> str:
    how, plans, dtype = interpolation(node), resized_axes(node), node.dtype()
    work = dtype if how.mode == "nearest" or is_float(dtype) else _floating(dtype)
    y = b.cast(x, work)
    fill = float(node.attr("extrapolation_value") or 0.0)
    for plan in plans:
        if plan.size == 0 or plan.count == 0:
            y = _empty(b, y, plan)
            continue
        taps = how.taps(plan.size, plan.count, plan.scale, plan.roi)
        y = mix(b, y, plan.axis, plan.size, taps)
        if taps.outside.any():
            y = _filled(b, y, plan.axis, taps.outside, fill)
    y = y if work == dtype else _to_integers(b, y, dtype)
    return b.call("Identity", y) if y == x else y


def mix(b: Body, x: str, axis: int, size: int, taps: Taps) -> str:
    """Resize one axis.

    Args:
        b: takes the calls.
        x: value to resize.
        axis: which axis, of `size` elements.
        size: its elements.
        taps: where each element of the result comes from.
    """
    rank, dtype = b.spec(x).rank, b.spec(x).dtype
    if taps.nearest:
        return _copied(b, x, axis, size, taps.index[:, 0])
    if size * len(taps.index) <= _LARGE:
        matrix = b.constant(taps.matrix(size).T, dtype)
        if axis == rank - 1:
            return b.call("MatMul", x, matrix)
        order = [*(a for a in range(rank) if a != axis), axis]
        y = b.call("MatMul", b.call("Transpose", x, perm=order), matrix)
        return b.call("Transpose", y, perm=[order.index(a) for a in range(rank)])
    shape = [-1 if a == axis else 1 for a in range(rank)]
    total = None
    for t in range(taps.index.shape[1]):
        if not taps.weight[:, t].any():
            continue
        part = b.call("Gather", x, b.constant(taps.index[:, t], "int64"), axis=axis)
        part = b.call("Mul", part, b.constant(taps.weight[:, t].reshape(shape), dtype))
        total = part if total is None else b.call("Add", total, part)
    assert total is not None
    return total


def _copied(b: Body, x: str, axis: int, size: int, index: np.ndarray) -> str:
    shape, factor = b.spec(x).shape, len(index) // size
    sizes = [d if isinstance(d, int) else -1 for d in shape]
    if factor < 2 or not np.array_equal(index, np.arange(size * factor) // factor) or sizes.count(-1) > 1:
        return b.call("Gather", x, b.constant(index, "int64"), axis=axis)
    lead = -1 if -1 in sizes[:axis] else int(np.prod(sizes[:axis]))
    tail = -1 if -1 in sizes[axis + 1 :] else int(np.prod(sizes[axis + 1 :]))
    y = b.call("Expand", b.reshape(x, (lead, size, 1, tail)), b.constant([1, 1, factor, 1], "int64"))
    return b.reshape(y, (*sizes[:axis], size * factor, *sizes[axis + 1 :]))


def _empty(b: Body, x: str, plan: AxisPlan) -> str:
    """An axis that is or becomes empty; nothing can be read from an empty one."""
    if plan.count:
        raise GraphError(f"{b.node}: axis {plan.axis} is empty and cannot be resized to {plan.count}")
    return b.call("Gather", x, b.constant(np.zeros(0), "int64"), axis=plan.axis)


def _filled(b: Body, x: str, axis: int, outside: np.ndarray, fill: float) -> str:
    rank, dtype = b.spec(x).rank, b.spec(x).dtype
    mask = b.constant(outside.reshape([-1 if a == axis else 1 for a in range(rank)]))
    value = np.asarray(fill).astype(numpy_dtype(dtype))
    return b.call("Where", mask, b.constant(value, dtype), x)


def _floating(dtype: str) -> str:
    """A floating-point type that holds the values: exact for integers of up to 16 bits."""
    return "float32" if dtype in ("int8", "uint8", "int16", "uint16", "bool") else "float64"


def _to_integers(b: Body, x: str, dtype: str) -> str:
    if dtype == "bool":
        return b.cast(x, dtype)
    limits, work = np.iinfo(numpy_dtype(dtype)), b.spec(x).dtype
    top = np.nextafter(float(limits.max), 0.0) if limits.max > 2**53 else float(limits.max)
    y = b.call("Clip", b.call("Round", x), b.constant(float(limits.min), work), b.constant(top, work))
    return b.cast(y, dtype)


@BODIES.rule("Upsample", since=7)
def upsample(b: Body, node: Node, x: str, scales: str) -> str:
    """Upsample is Resize with x_original = x_resized / scale, rounded down."""
    return b.call(
        "Resize", x, None, scales, mode=node.attr("mode"), coordinate_transformation_mode="asymmetric", nearest_mode="floor"
    )
