"""Operators that take images apart into patches or put them together: DeformConv, Col2Im, MaxUnpool."""

from __future__ import annotations

from itertools import product

import numpy as np

from polymodel.bodies.sampling import gather, linear, rows
from polymodel.bodies.table import BODIES, Body
from polymodel.errors import GraphError, ShapeError
from polymodel.feeds import is_float
from polymodel.plan import Node


@BODIES.rule("DeformConv", since=19)
def deform_conv(
    b: Body, node: Node, x: str, w: str, offset: str, bias: str | None = None, mask: str | None = None
) -> str:
    """Linear interpolation at the displaced places of each window, zeros outside, then one product for each group."""
    n, channels, *sizes = node.shape(0)
    filters, depth, *kernel = node.shape(1)
    out = node.shape(2)[2:]
    group, parts = int(node.attr("group")), int(node.attr("offset_group"))
    count, places, rank, dtype = int(np.prod(kernel)), int(np.prod(out)), len(kernel), node.dtype()
    if 0 in (n, places):
        return b.constant(np.zeros((n, filters, *out)), dtype)
    half = dtype in ("float16", "bfloat16")
    work = "float32" if half else dtype
    x, w, offset = (b.cast(v, work) for v in (x, w, offset))
    moved = b.call("Add", b.reshape(offset, (n * parts, count, rank, places)), b.constant(_base(node, kernel, out), work))
    along = b.calls("Split", moved, None, outputs=rank, axis=2, num_outputs=rank) if rank > 1 else (moved,)
    axes = [
        linear(b, b.reshape(a, (n * parts, count * places)), size) for a, size in zip(along, sizes, strict=True)
    ]
    table = rows(b, b.reshape(x, (n * parts, channels // parts, *sizes)), 1)
    seen = gather(b, table, axes, (n * parts, count * places))
    if mask is not None:
        seen = b.call("Mul", seen, b.reshape(b.cast(mask, work), (n * parts, count * places, 1)))
    seen = b.reshape(seen, (n * parts, count, places, channels // parts))
    columns = b.reshape(b.call("Transpose", seen, perm=[0, 3, 1, 2]), (n, group, depth * count, places))
    y = b.call("MatMul", b.reshape(w, (1, group, filters // group, depth * count)), columns)
    y = b.reshape(y, (n, filters, *out))
    if bias is not None:
        y = b.call("Add", y, b.reshape(b.cast(bias, work), (filters, *[1] * rank)))
    return b.cast(y, dtype)


def _base(node: Node, kernel: list[int], out: tuple[int, ...]) -> np.ndarray:
    """Places of each window before they are displaced: (1, kernel places, axes, outputs)."""
    rank = len(kernel)
    strides, dilations = (tuple(node.attr(a) or (1,) * rank) for a in ("strides", "dilations"))
    pads = tuple(node.attr("pads") or (0,) * (2 * rank))[:rank]
    starts = np.meshgrid(*(np.arange(o) * s - p for o, s, p in zip(out, strides, pads, strict=True)), indexing="ij")
    taps = np.meshgrid(*(np.arange(k) * d for k, d in zip(kernel, dilations, strict=True)), indexing="ij")
    places: np.ndarray = np.stack([t.reshape(-1, 1) + s.reshape(1, -1) for t, s in zip(taps, starts, strict=True)], 1)
    return places[None]


@BODIES.rule("Col2Im", since=18)
def col2im(b: Body, node: Node, x: str, image_shape: str, block_shape: str) -> str:
    """Every pixel is the sum of the entries that lie on it: one Gather, where an extra zero fills up."""
    image, block = ([int(v) for v in node.const(i)] for i in (1, 2))
    n, wide, length = node.shape(0)
    count = int(np.prod(block))
    if wide % count:
        raise ShapeError(f"{node}: {wide} rows are not a multiple of the {count} elements of a block {tuple(block)}")
    sources = _sources(node, image, block, length)
    dtype = node.dtype()
    work = dtype if is_float(dtype) or dtype in ("int32", "int64", "uint32", "uint64") else "int64"
    flat = b.reshape(b.cast(x, work), (n, wide // count, count * length))
    flat = b.call("Pad", flat, b.constant([0, 0, 0, 0, 0, 1], "int64"), mode="constant")
    seen = b.call("Gather", flat, b.constant(sources, "int64"), axis=2)
    y = b.call("ReduceSum", seen, b.constant([3], "int64"), keepdims=0)
    return b.cast(b.reshape(y, (n, wide // count, *image)), dtype)


def _sources(node: Node, image: list[int], block: list[int], length: int) -> np.ndarray:
    """(pixels, most entries on one) places in the flattened (block, blocks) entries; its length where there is none."""
    rank = len(image)
    strides, dilations = (tuple(node.attr(a) or (1,) * rank) for a in ("strides", "dilations"))
    pads = tuple(node.attr("pads") or (0,) * (2 * rank))
    blocks = [
        (image[a] + pads[a] + pads[a + rank] - dilations[a] * (block[a] - 1) - 1) // strides[a] + 1 for a in range(rank)
    ]
    if int(np.prod(blocks)) != length:
        raise ShapeError(f"{node}: an image {tuple(image)} has {tuple(blocks)} blocks {tuple(block)}, received {length}")
    starts = np.meshgrid(*(np.arange(n) * s - p for n, s, p in zip(blocks, strides, pads, strict=False)), indexing="ij")
    found: list[list[int]] = [[] for _ in range(int(np.prod(image)))]
    for k, place in enumerate(product(*(range(n) for n in block))):
        at = [s.ravel() + p * d for s, p, d in zip(starts, place, dilations, strict=True)]
        inside = np.all([(a >= 0) & (a < n) for a, n in zip(at, image, strict=True)], axis=0)
        pixels = np.ravel_multi_index([a[inside] for a in at], image) if inside.any() else np.zeros(0, np.int64)
        for pixel, entry in zip(pixels, np.flatnonzero(inside) + k * length, strict=True):
            found[int(pixel)].append(int(entry))
    most = max(map(len, found), default=0)
    return np.array([entries + [len(starts[0].ravel()) * int(np.prod(block))] * (most - len(entries)) for entries in found])


@BODIES.rule("MaxUnpool", since=9)
def max_unpool(b: Body, node: Node, x: str, index: str, output_shape: str | None = None) -> str:
    """Values at their places in the tensor that was pooled; a larger output_shape adds zeros at the end of each axis."""
    shape, kernel = node.shape(0), tuple(node.attr("kernel_shape"))
    rank = len(kernel)
    strides = tuple(node.attr("strides") or (1,) * rank)
    pads = tuple(node.attr("pads") or (0,) * (2 * rank))
    sizes = [
        (shape[a + 2] - 1) * strides[a] - pads[a] - pads[a + rank] + kernel[a] for a in range(rank)
    ]
    full, dtype = (*shape[:2], *sizes), node.dtype()
    wanted = tuple(int(v) for v in node.const(2)) if output_shape is not None else full
    if len(wanted) != len(full) or any(w < f for w, f in zip(wanted, full, strict=True)):
        raise GraphError(f"{node}: output_shape {wanted} is smaller than what is unpooled, {full}")
    zeros = b.constant(np.zeros(int(np.prod(full))), dtype)
    y = b.call("ScatterElements", zeros, b.reshape(index, (-1,)), b.reshape(x, (-1,)), axis=0)
    y = b.reshape(y, full)
    if wanted == full:
        return y
    more = [0] * len(full) + [w - f for w, f in zip(wanted, full, strict=True)]
    return b.call("Pad", y, b.constant(more, "int64"), mode="constant")


@BODIES.rule("GlobalLpPool", since=2)
def global_lp_pool(b: Body, node: Node, x: str) -> str:
    p, axes = int(node.attr("p")), b.constant(list(range(2, node.rank())), "int64")
    if p in (1, 2):
        return b.call(f"ReduceL{p}", x, axes, keepdims=1)
    powers = b.call("Pow", b.call("Abs", x), b.constant(p, node.dtype()))
    return b.call("Pow", b.call("ReduceSum", powers, axes, keepdims=1), b.constant(1 / p, node.dtype()))
