"""Pooling. The derivative of a maximum goes to the first of several equal elements of a window."""

from __future__ import annotations

from typing import Any

from polymodel.errors import Unsupported
from polymodel.plan import Node
from polymodel.windows import Window, ceil_padding, window
from polymodel_torch.compat import torch
from polymodel_torch.rules.table import TABLE, leaf

_F = torch.nn.functional
_MAX = {1: torch.max_pool1d, 2: torch.max_pool2d, 3: torch.max_pool3d}
_MAX_INDEX = {1: _F.max_pool1d, 2: _F.max_pool2d, 3: _F.max_pool3d}
_AVERAGE = {1: torch.avg_pool1d, 2: torch._C._nn.avg_pool2d, 3: torch._C._nn.avg_pool3d}


@TABLE.rule("MaxPool", since=11)
def max_pool(node: Node, x: Any) -> Any:
    win, ceil = window(node), bool(node.attr("ceil_mode"))
    rank = len(win.kernel)
    if rank not in _MAX:
        raise Unsupported(f"{node}: PyTorch pools over 1 to 3 spatial axes, received {rank}")
    if node.has_output(1):
        pair = _max_pool_with_indices(x, win, ceil, bool(node.attr("storage_order")))
        return pair[0], pair[1]
    plain = win.begin == win.end and all(2 * p <= k for p, k in zip(win.begin, win.kernel, strict=True))
    if plain and not ceil and "float" in node.dtype():
        return _MAX[rank](x, win.kernel, win.strides, win.begin, win.dilations, False)
    return _max_pool(x, win, ceil)


def _lowest(x: torch.Tensor) -> float:
    return float("-inf") if x.is_floating_point() else torch.iinfo(x.dtype).min


def _covered(x: torch.Tensor, win: Window, ceil: bool, fill: float) -> torch.Tensor:
    """The input padded so that windows of the floor rule are exactly those that are wanted."""
    _, missing = ceil_padding(win, tuple(x.shape[2:]), ceil)
    flat = [p for a in reversed(range(len(win.kernel))) for p in (win.begin[a], win.end[a] + missing[a])]
    return torch.constant_pad_nd(x, flat, fill) if any(flat) else x


@leaf
def _max_pool(x: torch.Tensor, win: Window, ceil: bool) -> torch.Tensor:
    kind = x.dtype
    if not x.is_floating_point():  # small integers are exact in float32
        x = x.to(torch.float32)
    y = _MAX[len(win.kernel)](_covered(x, win, ceil, float("-inf")), win.kernel, win.strides, 0, win.dilations, False)
    return _trim(y, x, win, ceil).to(kind)


def _trim(y: torch.Tensor, x: torch.Tensor, win: Window, ceil: bool) -> torch.Tensor:
    counts, _ = ceil_padding(win, tuple(x.shape[2:]), ceil)
    return y[(slice(None), slice(None), *(slice(0, c) for c in counts))]


@leaf
def _max_pool_with_indices(
    x: torch.Tensor, win: Window, ceil: bool, column_major: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Values and places: indices into the whole unpadded input, flattened row by row (or column by column)."""
    data = x if x.is_floating_point() else x.to(torch.float32)
    padded = _covered(data, win, ceil, float("-inf"))
    y, place = _MAX_INDEX[len(win.kernel)](
        padded, win.kernel, win.strides, 0, win.dilations, False, return_indices=True
    )
    y, place = _trim(y, x, win, ceil), _trim(place, x, win, ceil)
    sizes, inner = x.shape[2:], padded.shape[2:]
    coordinates = []
    for a in reversed(range(len(inner))):
        coordinates.append(place.remainder(inner[a]) - win.begin[a])
        place = torch.div(place, inner[a], rounding_mode="floor")
    coordinates.reverse()
    order = range(len(sizes)) if not column_major else reversed(range(len(sizes)))
    index = torch.zeros_like(coordinates[0])
    for a in order:
        index = index * sizes[a] + coordinates[a]
    planes = torch.arange(x.shape[0] * x.shape[1], device=x.device).reshape(x.shape[0], x.shape[1], *[1] * len(sizes))
    return y.to(x.dtype), index + planes * int(torch.Size(sizes).numel())


@TABLE.rule("AveragePool", since=11)
def average_pool(node: Node, x: Any) -> Any:
    win, ceil, inside = window(node), bool(node.attr("ceil_mode")), bool(node.attr("count_include_pad"))
    rank = len(win.kernel)
    if rank not in _AVERAGE:
        raise Unsupported(f"{node}: PyTorch pools over 1 to 3 spatial axes, received {rank}")
    plain = win.begin == win.end and all(2 * p <= k for p, k in zip(win.begin, win.kernel, strict=True))
    if plain and not ceil and set(win.dilations) == {1}:
        if rank == 3:
            return _average_pool_3d(x, win, inside)
        return _AVERAGE[rank](x, win.kernel, win.strides, win.begin, False, inside)
    return _average_pool(x, win, ceil, inside)


@leaf
def _average_pool_3d(x: torch.Tensor, win: Window, inside: bool) -> torch.Tensor:
    """PyTorch refuses a window longer than the input, even where padding makes it fit."""
    if any(k > n for k, n in zip(win.kernel, x.shape[2:], strict=True)):
        return _average_pool(x, win, False, inside)
    return _AVERAGE[3](x, win.kernel, win.strides, win.begin, False, inside)


@leaf
def _average_pool(x: torch.Tensor, win: Window, ceil: bool, inside: bool) -> torch.Tensor:
    """Sum over each window divided by the number of its elements that count.

    Padding counts with count_include_pad; what lies behind the padding, where ceil_mode reaches, never does.
    """
    sizes = tuple(x.shape[2:])
    ones = torch.ones((1, 1, *sizes), dtype=x.dtype, device=x.device)
    pads = [p for a in reversed(range(len(sizes))) for p in (win.begin[a], win.end[a])]
    ones = torch.constant_pad_nd(ones, pads, 1.0 if inside else 0.0)
    x = torch.constant_pad_nd(x, pads)
    counts, missing = ceil_padding(win, sizes, ceil)
    behind = [p for m in reversed(missing) for p in (0, m)]
    x, ones = torch.constant_pad_nd(x, behind), torch.constant_pad_nd(ones, behind)
    return _window_sum(x, win, counts) / _window_sum(ones, win, counts)


def _window_sum(x: torch.Tensor, win: Window, counts: tuple[int, ...]) -> torch.Tensor:
    """Sum of strided views, one axis after the other: exact for any dilation."""
    for a, (k, s, d, n) in enumerate(zip(win.kernel, win.strides, win.dilations, counts, strict=True)):
        before = (slice(None),) * (a + 2)
        parts = [x[(*before, slice(i * d, i * d + (n - 1) * s + 1, s))] for i in range(k)]
        x = torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]
    return x


@TABLE.rule("LpPool", since=11)
def lp_pool(node: Node, x: Any) -> Any:
    return _lp_pool(x, window(node), bool(node.attr("ceil_mode")), int(node.attr("p")))


@leaf
def _lp_pool(x: torch.Tensor, win: Window, ceil: bool, p: int) -> torch.Tensor:
    counts, _ = ceil_padding(win, tuple(x.shape[2:]), ceil)
    return _window_sum(_covered(x.abs() ** p, win, ceil, 0.0), win, counts) ** (1 / p)


@TABLE.rule("GlobalAveragePool", since=1)
def global_average_pool(node: Node, x: Any) -> Any:
    return torch.mean(x, tuple(range(2, node.rank())), keepdim=True)


@TABLE.rule("GlobalMaxPool", since=1)
def global_max_pool(node: Node, x: Any) -> Any:
    return torch.amax(x, tuple(range(2, node.rank())), keepdim=True)


@TABLE.rule("GlobalLpPool", since=2)
def global_lp_pool(node: Node, x: Any) -> Any:
    return torch.linalg.vector_norm(x, int(node.attr("p")), tuple(range(2, node.rank())), keepdim=True)
