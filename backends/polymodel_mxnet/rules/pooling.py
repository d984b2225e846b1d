"""MaxPool, AveragePool, LpPool and their global forms.

`_npx_pooling` computes symmetric windows without ceil_mode and dilation; everything else pads explicitly first, or takes
the extremum or sum over shifted strided slices. At ties MaxPool gives its derivative to the first element. MXNet's kernel
ignores NaN in MaxPool.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from itertools import product
from typing import Any, final

import numpy as np

from polymodel.plan import Node
from polymodel_mxnet.rules.convolution import Ints, window
from polymodel_mxnet.rules.movement import pad_zero
from polymodel_mxnet.rules.table import TABLE
from polymodel_mxnet.symbols import Symbol, cast, constant, current_trace, is_computed, mean, op, reshape


@final
class Geometry:
    """Where the windows of a pooling call lie.

    Attributes:
        kernel, strides, dilations: one number for each spatial axis.
        pads: (before, after) of each spatial axis, as the standard says.
        reach: (before, after) so that every window lies inside; more than `pads` at the end with ceil_mode.
    """

    def __init__(self, node: Node) -> None:
        self.kernel: Ints = tuple(node.attr("kernel_shape"))
        self.strides, self.dilations, self.pads = window(node, self.kernel)
        self.sizes, self.out = node.shape()[2:], node.out_shape()[2:]
        self.reach = []
        for i, (before, _) in enumerate(self.pads):
            need = (self.out[i] - 1) * self.strides[i] + (self.kernel[i] - 1) * self.dilations[i] + 1
            self.reach.append((before, need - before - self.sizes[i]))

    @property
    def simple(self) -> bool:
        """Whether MXNet's kernel has this geometry: it pads both sides alike, less than a window."""
        alike = all(a == b for a, b in self.pads)
        inside = all(a < k for (a, _), k in zip(self.pads, self.kernel, strict=True))
        floors = all(after <= b for (_, after), (_, b) in zip(self.reach, self.pads, strict=True))
        return alike and inside and floors and self.dense and len(self.kernel) <= 3

    @property
    def dense(self) -> bool:
        """Whether windows have no holes."""
        return all(d == 1 for d in self.dilations)

    def pad(self, node: Node, x: Symbol, value: float, dtype: str) -> Symbol:
        """The input with all windows inside."""
        width = [(0, 0), (0, 0), *((a, max(b, 0)) for a, b in self.reach)]
        return pad_zero(x, node.shape(), width, value, dtype)

    def shifts(self, x: Symbol) -> list[Symbol]:
        """For every place in the window the elements that it sees, one strided slice each, of the padded input."""
        parts = []
        for place in product(*(range(k) for k in self.kernel)):
            begin = [p * d for p, d in zip(place, self.dilations, strict=True)]
            end = [b + (o - 1) * s + 1 for b, o, s in zip(begin, self.out, self.strides, strict=True)]
            parts.append(op("slice", x, begin=(None, None, *begin), end=(None, None, *end), step=(1, 1, *self.strides)))
        return parts

    def over(self, array: np.ndarray, fill: float, combine: Callable[[list[np.ndarray]], Any]) -> Any:
        """The same windows over a NumPy array of the spatial sizes."""
        padded = np.pad(array, [(a, max(b, 0)) for a, b in self.reach], constant_values=fill)
        parts = []
        for place in product(*(range(k) for k in self.kernel)):
            index = tuple(
                slice(p * d, p * d + (o - 1) * s + 1, s)
                for p, d, o, s in zip(place, self.dilations, self.out, self.strides, strict=True)
            )
            parts.append(padded[index])
        return combine(parts)


def _pooling(x: Symbol, kind: str, geometry: Geometry, pad: Ints, **more: Any) -> Symbol:
    x = _computed(x) if kind == "max" else x
    return op("_npx_pooling", x, pool_type=kind, kernel=geometry.kernel, stride=geometry.strides, pad=pad, **more)


def _computed(x: Symbol) -> Symbol:
    """A copy of a value from outside. Parameters are views into one array: of a view the kernel that computes a maximum
    leaves no places for the kernel of its derivative, which then reads whatever lies there."""
    return op("_copy", x) if current_trace().purpose != "predict" and not is_computed(x) else x


@TABLE.rule("MaxPool", since=1)
def max_pool(node: Node, x: Symbol) -> Symbol | tuple[Symbol, Symbol]:
    kind, geometry = node.dtype(), Geometry(node)
    work = kind if kind in ("float32", "float64") else "float32"
    x = x if work == kind else cast(x, work)
    if geometry.simple and not node.has_output(1):
        y = _pooling(x, "max", geometry, tuple(a for a, _ in geometry.pads))
    else:
        padded = geometry.pad(node, x, -np.inf, work)
        if node.has_output(1):
            return _with_indices(node, geometry, padded, work)
        if geometry.dense and len(geometry.kernel) <= 3:
            y = _pooling(padded, "max", geometry, (0,) * len(geometry.kernel))
        else:
            y = reduce(lambda a, b: op("_npi_maximum", a, b), geometry.shifts(padded))
    return y if work == kind else cast(y, kind)


def _with_indices(node: Node, geometry: Geometry, padded: Symbol, work: str) -> tuple[Symbol, Symbol]:
    """Values and their places in the flattened input."""
    batch, channels = node.shape()[:2]
    positions, seen = int(np.prod(geometry.out)), int(np.prod(geometry.kernel))
    parts = [reshape(p, (batch * channels, 1, positions)) for p in geometry.shifts(padded)]
    stack = parts[0] if seen == 1 else op("_npi_concatenate", *parts, num_args=seen, axis=1)
    best = cast(op("_npi_argmax", op("BlockGrad", stack), axis=1), "int64")
    values = reshape(op("_npx_pick", stack, best, axis=1), node.out_shape())
    order = "F" if node.attr("storage_order") else "C"
    numbers = np.arange(int(np.prod(geometry.sizes)), dtype=np.int64).reshape(geometry.sizes, order=order)  # type: ignore[call-overload]
    places = geometry.over(numbers, 0, np.stack).reshape(-1)
    index = best * positions + constant(np.arange(positions, dtype=np.int64))
    plane = constant(np.arange(batch * channels, dtype=np.int64)[:, None] * numbers.size)
    where = op("_npi_add", op("_npi_take", constant(places), index, axis=0, mode="clip"), plane)
    return (values if work == node.dtype() else cast(values, node.dtype())), reshape(where, node.out_shape())


def _sum(node: Node, geometry: Geometry, x: Symbol, work: str) -> Symbol:
    """Sum over windows; what lies outside of the input counts as 0."""
    if geometry.simple:
        return _pooling(x, "sum", geometry, tuple(a for a, _ in geometry.pads))
    padded = geometry.pad(node, x, 0.0, work)
    if geometry.dense and len(geometry.kernel) <= 3:
        return _pooling(padded, "sum", geometry, (0,) * len(geometry.kernel))
    return reduce(lambda a, b: op("_npi_add", a, b), geometry.shifts(padded))


@TABLE.rule("AveragePool", since=1)
def average_pool(node: Node, x: Symbol) -> Symbol:
    kind, geometry = node.dtype(), Geometry(node)
    work = kind if kind != "float16" else "float32"
    x = x if work == kind else cast(x, work)
    include = bool(node.attr("count_include_pad"))
    if geometry.simple:
        y = _pooling(x, "avg", geometry, tuple(a for a, _ in geometry.pads), count_include_pad=include)
    else:
        inside = np.ones(geometry.sizes)
        if include:
            sizes = [n + a + b for n, (a, b) in zip(geometry.sizes, geometry.pads, strict=True)]
            whole = np.zeros([n + a + max(b, 0) for n, (a, b) in zip(geometry.sizes, geometry.reach, strict=True)])
            whole[tuple(slice(0, n) for n in sizes)] = 1
            counts = _count_padded(geometry, whole)
        else:
            counts = geometry.over(inside, 0, lambda parts: np.sum(parts, axis=0))
        y = _sum(node, geometry, x, work) * constant((1.0 / np.maximum(counts, 1)).astype(work))
    return y if work == kind else cast(y, kind)


def _count_padded(geometry: Geometry, whole: np.ndarray) -> np.ndarray:
    total = np.zeros(geometry.out)
    for place in product(*(range(k) for k in geometry.kernel)):
        index = tuple(
            slice(p * d, p * d + (o - 1) * s + 1, s)
            for p, d, o, s in zip(place, geometry.dilations, geometry.out, geometry.strides, strict=True)
        )
        total += whole[index]
    return total


@TABLE.rule("LpPool", since=11)
def lp_pool(node: Node, x: Symbol) -> Symbol:
    power, geometry = float(node.attr("p")), Geometry(node)
    y = op("_npi_power_scalar", op("_npi_abs", x), scalar=power, is_int=False)
    return op("_npi_power_scalar", _sum(node, geometry, y, node.dtype()), scalar=1.0 / power, is_int=False)


def _whole(node: Node, x: Symbol, kind: str) -> Symbol | None:
    count = node.rank() - 2
    if count > 3 or node.dtype() not in ("float32", "float64") or 0 in node.shape():
        return None
    x = _computed(x) if kind == "max" else x
    return op("_npx_pooling", x, pool_type=kind, global_pool=True, kernel=(1,) * count)


@TABLE.rule("GlobalAveragePool", since=1)
def global_average_pool(node: Node, x: Symbol) -> Symbol:
    y = _whole(node, x, "avg")
    axes = tuple(range(2, node.rank()))
    return mean(x, axes, of=node.spec(0)) if y is None else y


@TABLE.rule("GlobalMaxPool", since=1)
def global_max_pool(node: Node, x: Symbol) -> Symbol:
    y = _whole(node, x, "max")
    axes = tuple(range(2, node.rank()))
    return op("_np_max", x, axis=axes, keepdims=True) if y is None else y

