"""Convolutions of one, two or three spatial axes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from polymodel.errors import Unsupported
from polymodel.plan import Node
from polymodel.windows import Window, window
from polymodel_torch.compat import torch
from polymodel_torch.rules.table import TABLE, leaf

_CONV = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}
_TRANSPOSED = {1: torch.conv_transpose1d, 2: torch.conv_transpose2d, 3: torch.conv_transpose3d}


@TABLE.rule("Conv", since=11)
def conv(node: Node, x: Any, w: Any, b: Any = None) -> Any:
    win = window(node, kernel=node.shape(1)[2:])
    function = _kernel(node, _CONV, win)
    if len(win.kernel) == 2 and node.shape(1)[1] * int(node.attr("group")) == 1 and win.strides[0] < win.strides[1]:
        x = _one_plane(x)
    if not _skips(node, win) and win.begin == win.end:
        return function(x, w, b, win.strides, win.begin, win.dilations, int(node.attr("group")))
    if any(win.begin) or any(win.end):
        x = torch.constant_pad_nd(x, [p for pair in reversed(win.pads) for p in pair])
    if _skips(node, win):
        x = x[(slice(None), slice(None), *(slice(None, None, s) for s in win.strides))]
        win = replace(win, strides=(1,) * len(win.kernel))
    return function(x, w, b, win.strides, 0, win.dilations, int(node.attr("group")))


@TABLE.rule("ConvTranspose", since=11)
def conv_transpose(node: Node, x: Any, w: Any, b: Any = None) -> Any:
    rank = node.rank() - 2
    kernel = node.shape(1)[2:]
    strides, dilations = (tuple(node.attr(n) or (1,) * rank) for n in ("strides", "dilations"))
    extra = tuple(node.attr("output_padding") or (0,) * rank)
    begin, end = _transposed_pads(node, kernel, strides, dilations, extra)
    win = Window(kernel, strides, dilations, begin, end)
    function = _kernel(node, _TRANSPOSED, win)
    group = int(node.attr("group"))
    least = [n if isinstance(n, int) else 1 for n in node.spec(0).shape[2:]]
    sizes = [
        (n - 1) * s + (k - 1) * d + 1 - p - q + e
        for n, s, k, d, p, q, e in zip(least, strides, kernel, dilations, begin, end, extra, strict=True)
    ]
    small = all(e < max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True))
    if begin == end and min(begin) >= 0 and min(sizes) > 0 and small:  # PyTorch refuses results without elements
        return function(x, w, b, strides, begin, extra, group, dilations)
    y = function(x, w, None, strides, 0, 0, group, dilations)
    # What lies beyond the last product is zero; a negative padding cuts.
    flat = [p for a in reversed(range(rank)) for p in (-begin[a], extra[a] - end[a])]
    y = torch.constant_pad_nd(y, flat)
    return y if b is None else y + torch.reshape(b, (-1, *[1] * rank))


def _skips(node: Node, win: Window) -> bool:
    """Whether the kernel has one place and few channels and leaves places of the image out.

    With fewer than 8 channels in channels-last memory the derivative by the kernel writes beyond its memory: docs/framework-bugs.md.
    """
    return node.shape(1)[1] < 8 and set(win.kernel) == {1} and max(win.strides) > 1


@leaf
def _one_plane(x: torch.Tensor) -> torch.Tensor:
    """One channel with the strides of contiguous memory: with those of channels-last memory, results of width 1 are wrong where only
    the columns have a stride (docs/framework-bugs.md)."""
    n, c, h, w = x.shape
    if torch.jit.is_tracing() or torch.compiler.is_exporting():
        return x.contiguous()
    return torch.as_strided(x, (n, c, h, w), (h * w, h * w, w, 1))


def _kernel(node: Node, kernels: dict[int, Any], win: Window) -> Any:
    if len(win.kernel) not in kernels:
        raise Unsupported(f"{node}: PyTorch convolves over 1 to 3 spatial axes, received {len(win.kernel)}")
    return kernels[len(win.kernel)]


def _transposed_pads(
    node: Node, kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...], extra: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Amounts cut from both sides of the full result, by the formulas of the operator's page."""
    rank, mode, asked = len(kernel), node.attr("auto_pad"), node.attr("output_shape")
    if mode == "NOTSET" and not asked:
        pads = tuple(node.attr("pads") or (0,) * (2 * rank))
        return pads[:rank], pads[rank:]
    if mode == "VALID" and not asked:
        return (0,) * rank, (0,) * rank
    sizes = node.shape()[2:]
    wanted = tuple(asked)[-rank:] if asked else tuple(s * t for s, t in zip(sizes, strides, strict=True))
    begin, end = [], []
    for a in range(rank):
        total = strides[a] * (sizes[a] - 1) + extra[a] + (kernel[a] - 1) * dilations[a] + 1 - wanted[a]
        if asked and total < 0:
            begin.append(0)
            end.append(total)
        elif mode == "SAME_UPPER":
            total = max(0, total)
            begin.append(total // 2)
            end.append(total - total // 2)
        else:
            total = max(0, total)
            begin.append(total - total // 2)
            end.append(total // 2)
    return tuple(begin), tuple(end)


@TABLE.rule("ChannelsLast", since=1, domain="polymodel")
def channels_last(node: Node, x: Any) -> Any:
    return _channels_last(x)


@leaf
def _channels_last(x: torch.Tensor) -> torch.Tensor:
    """The same values in channels-last memory.

    With one channel or one pixel both formats are the same memory, and PyTorch leaves the strides of the other one,
    by which kernels then choose: the strides are written out. Not where torch.onnx looks: it exports as_strided as if the
    memory were contiguous, with other values.
    """
    n, c, h, w = x.shape
    x = x.contiguous(memory_format=torch.channels_last)
    if x.requires_grad or torch.jit.is_tracing() or torch.compiler.is_exporting():
        return x
    return torch.as_strided(x, (n, c, h, w), (c * h * w, 1, w * c, c))
