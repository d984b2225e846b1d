"""Sliding windows: kernel, strides, dilations and paddings of convolution and pooling, as numbers, for every backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from polymodel.plan import Node


@final
@dataclass(frozen=True)
class Window:
    """One entry per spatial axis in every field."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]

    @property
    def span(self) -> tuple[int, ...]:
        """Elements from the first to the last tap."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def pads(self) -> list[tuple[int, int]]:
        """Paddings (before, after) of each axis."""
        return list(zip(self.begin, self.end, strict=True))


def window(node: Node, kernel: Sequence[int] | None = None, sizes: Sequence[int] | None = None) -> Window:
    """The window of a Conv or pooling call.

    With auto_pad SAME_UPPER or SAME_LOWER the output has ceil(size / stride) elements, an odd padding having its
    larger half behind or in front.

    Args:
        node: the call.
        kernel: spatial sizes of the kernel; the attribute kernel_shape when None.
        sizes: spatial sizes of the input; those of the call's type when None.

    Raises:
        NeedsStaticShape: a size that the padding depends on is unknown.
    """
    if kernel is None:
        kernel = node.attr("kernel_shape")
    kernel = tuple(kernel)
    rank = len(kernel)
    strides = tuple(node.attr("strides") or (1,) * rank)
    dilations = tuple(node.attr("dilations") or (1,) * rank)
    mode = node.attr("auto_pad") or "NOTSET"
    if mode == "NOTSET":
        pads = tuple(node.attr("pads") or (0,) * (2 * rank))
        return Window(kernel, strides, dilations, pads[:rank], pads[rank:])
    if mode == "VALID":
        return Window(kernel, strides, dilations, (0,) * rank, (0,) * rank)
    begin, end = [], []
    for a in range(rank):
        size = 1 if strides[a] == 1 else node.dim(0, a + 2) if sizes is None else sizes[a]  # with stride 1 any will do
        count = -(-size // strides[a])
        total = max(0, (count - 1) * strides[a] + (kernel[a] - 1) * dilations[a] + 1 - size)
        small = total // 2
        begin.append(small if mode == "SAME_UPPER" else total - small)
        end.append(total - small if mode == "SAME_UPPER" else small)
    return Window(kernel, strides, dilations, tuple(begin), tuple(end))


def ceil_padding(win: Window, sizes: tuple[int, ...], ceil: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Number of windows on each axis, and elements missing behind the padded input for the last one (>= 0).

    With ceil_mode a last window that would begin behind the input and its front padding is left out.
    """
    counts, missing = [], []
    for a, size in enumerate(sizes):
        padded = size + win.begin[a] + win.end[a]
        room, step = padded - win.span[a], win.strides[a]
        count = (-(-room // step) if ceil else room // step) + 1
        if ceil and (count - 1) * step >= size + win.begin[a]:
            count -= 1
        counts.append(count)
        missing.append(max(0, (count - 1) * step + win.span[a] - padded))
    return tuple(counts), tuple(missing)
