"""Convolutions of any rank as products of patches (im2col), and their transposes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from polymodel.plan import Node
from polymodel_conformance.oracle import primitives as p
from polymodel_conformance.oracle.table import ORACLE
from polymodel_conformance.oracle.tape import Array, Value


@final
@dataclass(frozen=True)
class Window:
    """How a kernel moves over the spatial axes.

    Attributes:
        kernel, strides, dilations: one number per spatial axis.
        before, after: padding in front of and behind each axis.
        sizes: number of positions on each axis.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    sizes: tuple[int, ...]

    def slices(self, offset: Sequence[int]) -> tuple[slice, ...]:
        """Where kernel element `offset` reads the padded input, over all positions."""
        return tuple(
            slice(o * d, o * d + s * (n - 1) + 1, s)
            for o, d, s, n in zip(offset, self.dilations, self.strides, self.sizes, strict=True)
        )


def window(node: Node, spatial: Sequence[int], kernel: Sequence[int], *, ceil: bool = False) -> Window:
    """The window of a Conv or pooling call, by the formulas of the ONNX standard.

    With ceil, a last position that would start in the padding behind the input is dropped, as the standard says.
    """
    n = len(spatial)
    strides = tuple(node.attr("strides") or (1,) * n)
    dilations = tuple(node.attr("dilations") or (1,) * n)
    pads = tuple(node.attr("pads") or (0,) * (2 * n))
    auto = node.attr("auto_pad") or "NOTSET"
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        sizes = tuple(-(-s // t) for s, t in zip(spatial, strides, strict=True))
        need = [max(0, (o - 1) * t + e - s) for o, t, e, s in zip(sizes, strides, extent, spatial, strict=True)]
        small = tuple(w // 2 for w in need)
        large = tuple(w - w // 2 for w in need)
        before, after = (small, large) if auto == "SAME_UPPER" else (large, small)
        return Window(tuple(kernel), strides, dilations, before, after, sizes)
    before, after = ((0,) * n, (0,) * n) if auto == "VALID" else (pads[:n], pads[n:])
    counts: list[int] = []
    behind: list[int] = []
    for s, b, a, e, t in zip(spatial, before, after, extent, strides, strict=True):
        room = s + b + a - e
        size = (-(-room // t) if ceil else room // t) + 1
        if ceil and (size - 1) * t >= s + b:
            size -= 1
        counts.append(size)
        behind.append(max(a, (size - 1) * t + e - s - b))
    return Window(tuple(kernel), strides, dilations, tuple(before), tuple(behind), tuple(counts))


def patches(x: Value, w: Window, fill: float = 0.0) -> Value:
    """All windows: (N, C, *kernel, *sizes) from (N, C, *spatial)."""
    t = x.tape
    widths = [(0, 0), (0, 0), *zip(w.before, w.after, strict=True)]
    padded = np.pad(x.array, widths, constant_values=fill)
    out = np.empty((*x.shape[:2], *w.kernel, *w.sizes))
    for offset in np.ndindex(*w.kernel):
        out[(slice(None), slice(None), *offset)] = padded[(slice(None), slice(None), *w.slices(offset))]
    inner = (slice(None), slice(None), *(slice(b, b + s) for b, s in zip(w.before, x.shape[2:], strict=True)))

    def vjp(g: Array) -> list[Array]:
        back = np.zeros(padded.shape)
        for offset in np.ndindex(*w.kernel):
            taken: Any = (slice(None), slice(None), *offset)
            back[(slice(None), slice(None), *w.slices(offset))] += g[taken]
        return [t.rounded(back[inner])]

    return t.push(out, (x,), vjp)


def convolve(x: Value, weight: Value, w: Window, groups: int) -> Value:
    """(N, M, *sizes) from x (N, C, *spatial) and weight (M, C/groups, *kernel)."""
    n, c, m = x.shape[0], x.shape[1], weight.shape[0]
    k, spots = int(np.prod(w.kernel)), int(np.prod(w.sizes))
    cols = p.reshape(patches(x, w), (n, groups, c // groups * k, spots))
    cols = p.reshape(p.transpose(cols, (1, 0, 3, 2)), (groups, n * spots, c // groups * k))
    kernel = p.reshape(weight, (groups, m // groups, c // groups * k))
    y = p.matmul(cols, p.swap(kernel, 1, 2))
    y = p.reshape(y, (groups, n, spots, m // groups))
    return p.reshape(p.transpose(y, (1, 0, 3, 2)), (n, m, *w.sizes))


def per_channel(b: Value, rank: int) -> Value:
    """(C,) shaped to add to (N, C, ...)."""
    return p.reshape(b, (1, -1, *(1,) * (rank - 2)))


@ORACLE.rule("Conv", since=1)
def _conv(node: Node, x: Value, weight: Value, bias: Value | None = None) -> Value:
    w = window(node, x.shape[2:], weight.shape[2:])
    y = convolve(x, weight, w, node.attr("group"))
    return y if bias is None else p.add(y, per_channel(bias, y.ndim))


@ORACLE.rule("ConvTranspose", since=1)
def _conv_transpose(node: Node, x: Value, weight: Value, bias: Value | None = None) -> Value:
    n = x.ndim - 2
    strides = tuple(node.attr("strides") or (1,) * n)
    dilations = tuple(node.attr("dilations") or (1,) * n)
    extra = tuple(node.attr("output_padding") or (0,) * n)
    groups = node.attr("group")
    kernel, spatial = weight.shape[2:], x.shape[2:]
    full = [s * (i - 1) + (k - 1) * d + 1 for s, i, k, d in zip(strides, spatial, kernel, dilations, strict=True)]
    begin, end = _transpose_pads(node, full, spatial, strides, extra)
    wide = _stuffed(x, strides)
    m = weight.shape[1] * groups
    turned = p.reshape(weight, (groups, weight.shape[0] // groups, weight.shape[1], *kernel))
    turned = p.reshape(p.swap(turned, 1, 2), (m, weight.shape[0] // groups, *kernel))
    turned = p.pick(turned, (slice(None), slice(None), *(slice(None, None, -1) for _ in kernel)))
    reach = tuple((k - 1) * d for k, d in zip(kernel, dilations, strict=True))
    move = Window(tuple(kernel), (1,) * n, dilations, reach, reach, tuple(full))
    y = convolve(wide, turned, move, groups)
    low = [max(0, b) for b in begin]
    grown = [(max(0, -b), max(0, -e) + o) for b, e, o in zip(begin, end, extra, strict=True)]
    y = p.pad(y, [(0, 0), (0, 0), *grown])
    size = [f - b - e + o for f, b, e, o in zip(full, begin, end, extra, strict=True)]
    y = p.pick(y, (slice(None), slice(None), *(slice(lo, lo + s) for lo, s in zip(low, size, strict=True))))
    return y if bias is None else p.add(y, per_channel(bias, y.ndim))


def _transpose_pads(
    node: Node, full: Sequence[int], spatial: Sequence[int], strides: Sequence[int], extra: Sequence[int]
) -> tuple[list[int], list[int]]:
    n = len(full)
    pads = list(node.attr("pads") or (0,) * (2 * n))
    auto, wanted = node.attr("auto_pad"), node.attr("output_shape")
    if wanted is None and auto not in ("SAME_UPPER", "SAME_LOWER"):
        return ([0] * n, [0] * n) if auto == "VALID" else (pads[:n], pads[n:])
    target = list(wanted)[-n:] if wanted is not None else [i * s for i, s in zip(spatial, strides, strict=True)]
    begin, end = [], []
    for f, o, s in zip(full, extra, target, strict=True):
        total = f + o - s
        small = total // 2
        begin.append(small if auto == "SAME_UPPER" else total - small)
        end.append(total - begin[-1])
    return begin, end


def _stuffed(x: Value, strides: Sequence[int]) -> Value:
    """Zeros between the elements, stride - 1 of them."""
    shape = (*x.shape[:2], *((i - 1) * s + 1 if i else 0 for i, s in zip(x.shape[2:], strides, strict=True)))
    key = (slice(None), slice(None), *(slice(None, None, s) for s in strides))
    out = np.zeros(shape)
    out[key] = x.array
    return x.tape.push(out, (x,), lambda g: [g[key]])
