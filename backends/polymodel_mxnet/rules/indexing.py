"""Gather, scatter and one-hot.

Indices count from the end where they are negative. Where they are known they are checked when lowering; where they are
computed they are brought into range first, because MXNet's kernels write outside of their memory otherwise.
Integers are combined in their own type, which wraps around as the standard's do.
"""

from __future__ import annotations

import numpy as np

from polymodel.errors import ShapeError
from polymodel.feeds import is_float
from polymodel.plan import Node
from polymodel_mxnet.rules.table import TABLE
from polymodel_mxnet.symbols import Symbol, cast, concat, constant, cut, op, reshape

_MOST_AXES = 5
"""Axes that MXNet's kernels with several operands take."""


def places(node: Node, i: int, index: Symbol, size: int) -> Symbol:
    """Indices of an axis counted from the front, inside [0, size)."""
    if node.is_const(i):
        values = node.const(i).astype(np.int64)
        _check(node, values, size)
        return constant(np.where(values < 0, values + size, values))
    index = index if node.dtype(i) == "int64" else cast(index, "int64")
    many = node.rank(i) > _MOST_AXES
    index = reshape(index, (-1,)) if many else index
    index = op("_npi_where", index < 0, index + size, index)
    index = op("_npi_minimum_scalar", op("_npi_maximum_scalar", index, scalar=0, is_int=True), scalar=size - 1, is_int=True)
    return reshape(index, node.shape(i)) if many else index


def _check(node: Node, values: np.ndarray, size: int) -> None:
    if values.size and (values.min() < -size or values.max() >= size):
        raise ShapeError(f"{node}: index {int(values.min())} to {int(values.max())} is outside of an axis of size {size}")


@TABLE.rule("Gather", since=1)
def gather(node: Node, x: Symbol, index: Symbol) -> Symbol:
    axis = node.axis()
    return op("_npi_take", x, places(node, 1, index, node.dim(0, axis)), axis=axis, mode="clip")


def _linear(node: Node, index: Symbol, i: int, axis: int) -> Symbol:
    """For every element of an index tensor the place in the flattened data, other axes as they are."""
    shape, sizes = node.shape(i), node.shape(0)
    strides = [int(np.prod(sizes[a + 1 :], dtype=np.int64)) for a in range(len(sizes))]
    base = np.zeros(shape, np.int64)
    for a in range(len(shape)):
        if a != axis:
            base = base + (np.arange(shape[a]) * strides[a]).reshape([-1 if b == a else 1 for b in range(len(shape))])
    base = base if len(shape) <= _MOST_AXES else base.reshape(-1)
    return op("_npi_add", index * strides[axis], constant(base))


@TABLE.rule("GatherElements", since=11)
def gather_elements(node: Node, x: Symbol, index: Symbol) -> Symbol:
    axis, shape = node.axis(), node.shape(1)
    if node.rank() <= _MOST_AXES:
        where = _linear(node, places(node, 1, index, node.dim(0, axis)), 1, axis)
        return op("_npi_take", reshape(x, (-1,)), where, axis=0, mode="clip")
    flat = reshape(places(node, 1, index, node.dim(0, axis)), (-1,))
    where = _linear(node, flat, 1, axis)
    return reshape(op("_npi_take", reshape(x, (-1,)), where, axis=0, mode="clip"), shape)


def _tuples(node: Node, index: Symbol, i: int, sizes: tuple[int, ...]) -> Symbol:
    """Index tuples (..., k) as one index into the axes of these sizes, flattened."""
    if node.is_const(i):
        values = node.const(i).astype(np.int64)
        for a, size in enumerate(sizes):
            _check(node, values[..., a], size)
        bound = np.array(sizes, np.int64)
        values = np.where(values < 0, values + bound, values)
        strides = np.array([int(np.prod(sizes[a + 1 :])) for a in range(len(sizes))], np.int64)
        return constant((values * strides).sum(-1))
    top = constant(np.array(sizes, np.int64))
    index = index if node.dtype(i) == "int64" else cast(index, "int64")
    index = op("_npi_where", index < 0, op("_npi_add", index, top), index)
    index = op("_npi_minimum", op("_npi_maximum_scalar", index, scalar=0, is_int=True), constant(np.array(sizes) - 1))
    strides = np.array([int(np.prod(sizes[a + 1 :])) for a in range(len(sizes))], np.int64)
    last = node.rank(i) - 1
    return op("_np_sum", op("_npi_multiply", index, constant(strides)), axis=(last,), dtype="int64")


@TABLE.rule("GatherND", since=11)
def gather_nd(node: Node, x: Symbol, index: Symbol) -> Symbol:
    batch = int(node.attr("batch_dims") or 0)
    shape, depth = node.shape(0), node.shape(1)[-1]
    where = _tuples(node, index, 1, shape[batch : batch + depth])
    rows = int(np.prod(shape[batch : batch + depth]))
    rest = shape[batch + depth :]
    if batch:
        groups = int(np.prod(shape[:batch]))
        where = reshape(where, (groups, -1))
        where = op("_npi_add", where, constant(np.arange(groups, dtype=np.int64)[:, None] * rows))
        rows *= groups
    y = op("_npi_take", reshape(x, (rows, *rest)), where, axis=0, mode="clip")
    return reshape(y, node.out_shape())


def _scatter(
    x: Symbol, where: Symbol, updates: Symbol, count: int, given: int, width: int, kind: str, reduction: str
) -> Symbol:
    """Write or combine rows.

    Updates of one row are brought together by a stable sort, combined by doubling steps, and the last of them, which
    then holds them all, is taken to its row. Only floating-point sums go the short way of MXNet's own kernel.

    Args:
        x: (count, width).
        where: (given,) int64 rows.
        updates: (given, width).
    """
    if reduction == "add" and is_float(kind):
        return op("_npi_add", x, op("_backward_gather_nd", updates, reshape(where, (1, given)), shape=(count, width)))
    if kind in ("bool", "int8", "uint8"):  # whose kernels are incomplete; results are cut to the type
        wide = _scatter(cast(x, "int32"), where, cast(updates, "int32"), count, given, width, "int32", reduction)
        return wide != 0 if kind == "bool" else cast(wide, kind)
    where = op("BlockGrad", where)
    order = op(
        "argsort", op("_npi_add", where * given, constant(np.arange(given, dtype=np.int64))), axis=0, dtype="int64"
    )
    row, values = op("_npi_take", where, order, axis=0), op("_npi_take", updates, order, axis=0)
    if reduction != "none":
        values = _combined(row, values, given, _COMBINE[reduction])
    pos = _last(row, count, given)
    result = op("_npi_take", values, op("_npi_maximum_scalar", pos - 1, scalar=0, is_int=True), axis=0, mode="clip")
    if reduction != "none":
        result = op(_COMBINE[reduction], x, result)
    return op("_npi_where", reshape(pos > 0, (count, 1)), result, x)


_COMBINE = {"add": "_npi_add", "mul": "_npi_multiply", "max": "_npi_maximum", "min": "_npi_minimum"}


def _combined(row: Symbol, values: Symbol, given: int, name: str) -> Symbol:
    """Running results over neighbours of the same row: each step looks twice as far back."""
    distance = 1
    while distance < given:
        here, before = cut(values, 0, distance, given), cut(values, 0, 0, given - distance)
        same = op("_npi_equal", cut(row, 0, distance, given), cut(row, 0, 0, given - distance))
        joined = op("_npi_where", reshape(same, (given - distance, 1)), op(name, before, here), here)
        values = concat([cut(values, 0, 0, distance), joined], 0)
        distance *= 2
    return values


def _last(row: Symbol, count: int, given: int) -> Symbol:
    """For each of `count` rows 1 + the place of the last update of it in the sorted rows, 0 where there is none."""
    end = constant(np.ones(1, bool))
    if given > 1:
        end = concat([op("_npi_not_equal", cut(row, 0, 1, given), cut(row, 0, 0, given - 1)), end], 0)
    number = op("_npi_where", end, constant(np.arange(1, given + 1, dtype=np.float64)), constant(np.zeros((), np.float64)))
    return cast(op("_backward_gather_nd", number, reshape(row, (1, given)), shape=(count,)), "int64")


@TABLE.rule("ScatterElements", since=11)
def scatter_elements(node: Node, x: Symbol, index: Symbol, updates: Symbol) -> Symbol:
    shape, given = node.shape(0), int(np.prod(node.shape(1)))
    if given == 0:
        return op("_copy", x)
    axis, count = node.axis(), int(np.prod(shape))
    where = reshape(_linear(node, places(node, 1, index, node.dim(0, axis)), 1, axis), (given,))
    y = _scatter(
        reshape(x, (count, 1)), where, reshape(updates, (given, 1)), count, given, 1, node.dtype(), _reduction(node)
    )
    return reshape(y, shape)


@TABLE.rule("ScatterND", since=11)
def scatter_nd(node: Node, x: Symbol, index: Symbol, updates: Symbol) -> Symbol:
    shape, depth = node.shape(0), node.shape(1)[-1]
    given = int(np.prod(node.shape(1)[:-1]))
    if given == 0 or 0 in node.shape(2):
        return op("_copy", x)
    count, width = int(np.prod(shape[:depth])), int(np.prod(shape[depth:]))
    where = reshape(_tuples(node, index, 1, shape[:depth]), (given,))
    y = _scatter(
        reshape(x, (count, width)), where, reshape(updates, (given, width)), count, given, width, node.dtype(),
        _reduction(node),
    )  # fmt: skip
    return reshape(y, shape)


def _reduction(node: Node) -> str:
    return str(node.attr("reduction") or "none")


@TABLE.rule("OneHot", since=9)
def one_hot(node: Node, index: Symbol, depth: Symbol, values: Symbol) -> Symbol:
    size = int(node.const(1).reshape(-1)[0])
    rank = node.rank() + 1
    axis = int(node.attr("axis")) % rank
    index = op("BlockGrad", index)
    index = index if node.dtype() == "int64" else cast(index, "int64")
    index = op("_npi_where", index < 0, index + size, index)
    spread, line = list(node.shape()), [1] * rank
    spread.insert(axis, 1)
    line[axis] = size
    hot = op("_npi_equal", reshape(index, spread), constant(np.arange(size, dtype=np.int64).reshape(line)))
    kind = node.dtype(2)
    pair = cast(values, "uint8") if kind == "bool" else values  # no slices of bool
    off, on = (reshape(op("slice_axis", pair, axis=0, begin=i, end=i + 1), ()) for i in (0, 1))
    chosen = op("_npi_where", hot, on, off)
    return cast(chosen, kind) if kind == "bool" else chosen
