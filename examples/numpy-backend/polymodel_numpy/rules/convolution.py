"""Convolution over any number of axes, and the views of sliding windows that pooling shares."""

from collections.abc import Callable
from typing import Any

import numpy as np

from polymodel.plan import Node
from polymodel.windows import Window, ceil_padding, window
from polymodel_numpy.rules.table import TABLE


def windows(x: Any, win: Window, fill: Any = 0, ceil: bool = False) -> tuple[Any, Callable[[Any], Any]]:
    """The elements under each window, (N, C, places..., kernel...), and the way back: sums from there into x."""
    counts, missing = ceil_padding(win, x.shape[2:], ceil)
    pads = [(before, after + m) for (before, after), m in zip(win.pads, missing, strict=True)]
    kept = tuple(slice(max(-b, 0), n - max(-a, 0)) for (b, a), n in zip(pads, x.shape[2:], strict=True))
    pads = [(0, 0), (0, 0), *((max(b, 0), max(a, 0)) for b, a in pads)]
    wide: Any = np.pad(x[(..., *kept)], pads, constant_values=fill)
    spatial: Any = tuple(range(2, x.ndim))
    every = tuple(slice(0, (c - 1) * s + 1, s) for c, s in zip(counts, win.strides, strict=True))
    taps = tuple(slice(None, None, d) for d in win.dilations)
    seen: Any = np.lib.stride_tricks.sliding_window_view(wide, win.span, spatial)

    def back(g: Any) -> Any:
        sums: Any = np.zeros(wide.shape)
        for place in np.ndindex(*win.kernel):
            where = tuple(
                slice(p * d, p * d + (c - 1) * s + 1, s)
                for p, d, c, s in zip(place, win.dilations, counts, win.strides, strict=True)
            )
            sums[(..., *where)] += g[(..., *place)]
        inner = tuple(slice(b, n - a) for (b, a), n in zip(pads, wide.shape, strict=True))
        result = np.zeros(x.shape)
        result[(..., *kept)] = sums[inner]
        return result

    return seen[(..., *every, *taps)], back


@TABLE.rule("Conv", since=11)
def conv(node: Node, x: Any, w: Any, b: Any = None) -> Any:
    seen, back = windows(x, window(node, w.shape[2:], x.shape[2:]))
    groups, rank = int(node.attr("group")), x.ndim - 2
    parts, weights = np.split(seen, groups, 1), np.split(w, groups, 0)
    taps, places = tuple(range(2, 2 + rank)), tuple(range(2, 2 + rank))
    inner = tuple(range(2 + rank, 2 + 2 * rank))
    products = [np.tensordot(p, v, ((1, *inner), (1, *taps))) for p, v in zip(parts, weights, strict=True)]
    y = np.moveaxis(np.concatenate(products, -1), -1, 1)

    def pull(g: Any) -> Any:
        pieces = np.split(g, groups, 1)
        by_w = [np.tensordot(h, p, ((0, *places), (0, *places))) for h, p in zip(pieces, parts, strict=True)]
        by_seen = [np.moveaxis(np.tensordot(h, v, (1, 0)), 1 + rank, 1) for h, v in zip(pieces, weights, strict=True)]
        return back(np.concatenate(by_seen, 1)), np.concatenate(by_w), g.sum((0, *places), dtype=np.float64)

    return y if b is None else y + b.reshape(-1, *[1] * rank), pull
