"""Pooling. The derivative of a maximum goes to the first of several equal elements of a window."""

import math
from typing import Any

import numpy as np

from polymodel.plan import Node
from polymodel.windows import window
from polymodel_numpy.rules.convolution import windows
from polymodel_numpy.rules.reduction import total
from polymodel_numpy.rules.table import TABLE


@TABLE.rule("MaxPool", since=11, when=lambda node: not node.has_output(1))
def max_pool(node: Node, x: Any) -> Any:
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    seen, back = windows(x, window(node, sizes=x.shape[2:]), lowest, bool(node.attr("ceil_mode")))
    flat = seen.reshape(*seen.shape[: x.ndim], math.prod(seen.shape[x.ndim :]))
    best = flat.argmax(-1)[..., None]

    def pull(g: Any) -> Any:
        share = np.zeros(flat.shape)
        np.put_along_axis(share, best, g[..., None], -1)
        return (back(share.reshape(seen.shape)),)

    return np.take_along_axis(flat, best, -1)[..., 0], pull


@TABLE.rule("AveragePool", since=11)
def average_pool(node: Node, x: Any) -> Any:
    """Padding counts with count_include_pad; what lies behind it, where ceil_mode reaches, never does."""
    win, ceil = window(node, sizes=x.shape[2:]), bool(node.attr("ceil_mode"))
    seen, back = windows(x, win, 0, ceil)
    ones = np.ones((1, 1, *x.shape[2:]))
    if node.attr("count_include_pad"):
        ones = np.pad(ones, [(0, 0), (0, 0), *win.pads], constant_values=1)
        win = type(win)(win.kernel, win.strides, win.dilations, (0,) * len(win.kernel), (0,) * len(win.kernel))
    inner = tuple(range(x.ndim, seen.ndim))
    counted = windows(ones, win, 0, ceil)[0].sum(inner)
    shape = (*seen.shape[: x.ndim], *[1] * len(inner))
    return total(seen, inner, False) / counted, lambda g: (back(np.broadcast_to((g / counted).reshape(shape), seen.shape)),)


@TABLE.rule("GlobalAveragePool", since=1)
def global_average_pool(node: Node, x: Any) -> Any:
    axes = tuple(range(2, x.ndim))
    count = np.prod(x.shape[2:])
    return total(x, axes) / count, lambda g: (np.broadcast_to(g / count, x.shape),)
