"""Sliding windows: kernel, strides, dilations and paddings of convolution and pooling, as numbers."""

from __future__ import annotations

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

    def flat_pads(self) -> list[int]:
        """Paddings in the order of torch.nn.functional.pad: last axis first."""
        return [p for a in reversed(range(len(self.kernel))) for p in (self.begin[a], self.end[a])]


def window(node: Node, kernel: tuple[int, ...] | None = None) -> Window:
    """The window of a Conv or pooling call.

    With auto_pad SAME_UPPER or SAME_LOWER the output has ceil(size / stride) elements, an odd padding having its
    larger half behind or in front; NeedsStaticShape when the size is unknown.
    """
    if kernel is None:
        kernel = tuple(node.attr("kernel_shape"))
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
        size = node.dim(0, a + 2)
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
