"""Reductions, arguments of extrema, running sums and the largest elements.

Derivatives at ties: ReduceMax and ReduceMin give everything to the first of the tied elements (MXNet's own kernel gives
everything to each of them, which is no subgradient). A reduction over no elements is a constant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from polymodel.feeds import is_float
from polymodel.plan import Node
from polymodel.spec import TensorSpec, numpy_dtype
from polymodel_mxnet.rules.table import TABLE
from polymodel_mxnet.symbols import Symbol, cast, concat, constant, current_trace, cut, mean, op, reshape, select, total, transpose

Reduce = Callable[[Node, Symbol, tuple[int, ...], bool], Symbol]


def axes_of(node: Node, i: int = 1) -> tuple[int, ...]:
    """Reduced axes, counted from the front; all of them when none is given, none with noop_with_empty_axes."""
    given = node.const(i).reshape(-1).tolist() if node.has_input(i) else []
    if not given:
        return () if node.attr("noop_with_empty_axes") else tuple(range(node.rank()))
    return tuple(sorted(int(a) % node.rank() for a in given))


def _register(op_type: str, since: int, empty: Any) -> Callable[[Reduce], Reduce]:
    def decorate(reduce: Reduce) -> Reduce:
        def rule(node: Node, x: Symbol, axes: Symbol = None) -> Symbol:
            if 0 in node.shape():
                kind = numpy_dtype(node.dtype())
                value = empty(kind) if callable(empty) else empty
                return constant(np.full(node.out_shape(), value, kind))
            chosen = axes_of(node)
            if node.rank() == 0:
                return reshape(reduce(node, reshape(x, (1,)), (0,), False), ())
            return reduce(node, x, chosen, bool(node.attr("keepdims")))

        TABLE.rule(op_type, since=since)(rule)
        return reduce

    return decorate


@_register("ReduceSum", 13, 0)
def reduce_sum(node: Node, x: Symbol, axes: tuple[int, ...], keep: bool) -> Symbol:
    if is_float(node.dtype()) or not axes:
        return total(x, axes, keep, _summed(node))
    return op("_np_sum", x, axis=axes, keepdims=keep, dtype=node.dtype())


@_register("ReduceMean", 18, np.nan)
def reduce_mean(node: Node, x: Symbol, axes: tuple[int, ...], keep: bool) -> Symbol:
    return _floating(node, x, lambda y: mean(y, axes, keep, _summed(node))) if axes else x


def _lowest(kind: np.dtype[Any]) -> Any:
    return -np.inf if kind.kind == "f" else (False if kind.kind == "b" else np.iinfo(kind).min)


def _highest(kind: np.dtype[Any]) -> Any:
    return np.inf if kind.kind == "f" else (True if kind.kind == "b" else np.iinfo(kind).max)


def _extreme(node: Node, x: Symbol, axes: tuple[int, ...], keep: bool, name: str) -> Symbol:
    kind = node.dtype()
    if not axes:
        return x
    if kind in ("bool", "int8", "uint8", "float16"):
        wide = "float32" if kind == "float16" else "int32"
        return _narrow(_plain(cast(x, wide), axes, keep, name), kind)
    value = _plain(x, axes, keep, name)
    if not is_float(kind) or current_trace().purpose == "predict":
        return value
    rest = [a for a in range(node.rank()) if a not in axes]
    shape = node.shape()
    rows = reshape(transpose(x, (*rest, *axes)), (*(shape[a] for a in rest), -1 if rest else node.spec(0).size))
    where = op("_npi_argmax" if name == "max" else "_npi_argmin", op("BlockGrad", rows), axis=len(rest))
    picked = reshape(op("_npx_pick", rows, where, axis=len(rest)), node.out_shape())
    return op("_npi_where", value == value, picked, value)


def _plain(x: Symbol, axes: tuple[int, ...], keep: bool, name: str) -> Symbol:
    return op(f"_np_{name}", x, axis=axes, keepdims=keep)


def _narrow(x: Symbol, kind: str) -> Symbol:
    return x != 0 if kind == "bool" else cast(x, kind)


@_register("ReduceMax", 18, _lowest)
def reduce_max(node: Node, x: Symbol, axes: tuple[int, ...], keep: bool) -> Symbol:
    return _extreme(node, x, axes, keep, "max")


@_register("ReduceMin", 18, _highest)
def reduce_min(node: Node, x: Symbol, axes: tuple[int, ...], keep: bool) -> Symbol:
    return _extreme(node, x, axes, keep, "min")


@_register("ReduceProd", 18, 1)
def reduce_prod(node: Node, x: Symbol, axes: tuple[int, ...], keep: bool) -> Symbol:
    """MXNet's derivative divides by the elements; where one is wanted, halves are multiplied until one element is left."""
    kind, shape = node.dtype(), node.shape() or (1,)
    if not axes:
        return x
    if not is_float(kind) or current_trace().purpose == "predict":
        return op("_np_prod", x, axis=axes, keepdims=keep, dtype=kind)
    rest = [a for a in range(len(shape)) if a not in axes]
    rows, size = (int(np.prod([shape[a] for a in some], dtype=np.int64)) for some in (rest, axes))
    y = reshape(transpose(x, (*rest, *axes)), (rows, size))
    while size > 1:
        half = size // 2
        joined = op("_npi_multiply", cut(y, 1, 0, half), cut(y, 1, half, 2 * half))
        y = concat([joined, cut(y, 1, 2 * half, size)], 1) if size % 2 else joined
        size -= half
    return reshape(y, node.out_shape())


@_register("ReduceL1", 18, 0)
def reduce_l1(node: Node, x: Symbol, axes: tuple[int, ...], keep: bool) -> Symbol:
    return reduce_sum(node, op("_npi_abs", x), axes, keep)


@_register("ReduceSumSquare", 18, 0)
def reduce_sum_square(node: Node, x: Symbol, axes: tuple[int, ...], keep: bool) -> Symbol:
    return reduce_sum(node, op("_npi_multiply", x, x), axes, keep)


@_register("ReduceL2", 18, 0)
def reduce_l2(node: Node, x: Symbol, axes: tuple[int, ...], keep: bool) -> Symbol:
    kind = node.dtype()
    if is_float(kind):
        return op("_npi_sqrt", reduce_sum_square(node, x, axes, keep))
    y = cast(x, "float64")
    return cast(op("_npi_sqrt", total(op("_npi_square", y), axes, keep)), kind)


def _summed(node: Node) -> TensorSpec:
    """What is summed: integers in float64, a scalar as an array of one."""
    return TensorSpec(node.shape() or (1,), node.dtype() if is_float(node.dtype()) else "float64")


def _floating(node: Node, x: Symbol, compute: Callable[[Symbol], Symbol]) -> Symbol:
    kind = node.dtype()
    return compute(x) if is_float(kind) else cast(compute(cast(x, "float64")), kind)


@_register("ReduceLogSum", 18, -np.inf)
def reduce_log_sum(node: Node, x: Symbol, axes: tuple[int, ...], keep: bool) -> Symbol:
    return _floating(node, x, lambda y: op("_npi_log", total(y, axes, keep, _summed(node))))


@_register("ReduceLogSumExp", 18, -np.inf)
def reduce_log_sum_exp(node: Node, x: Symbol, axes: tuple[int, ...], keep: bool) -> Symbol:
    return _floating(node, x, lambda y: log_sum_exp(y, axes, keep, _summed(node)))


def log_sum_exp(x: Symbol, axes: tuple[int, ...], keep: bool, of: TensorSpec) -> Symbol:
    """log(sum(exp(x))), shifted by the largest finite element so that nothing overflows."""
    if not axes:
        return x
    top = op("BlockGrad", op("_np_max", x, axis=axes, keepdims=True))
    top = select(op("_npi_isfinite", top), top, 0.0, of.dtype)
    result = op("_npi_log", total(op("_npi_exp", x - top), axes, of=of)) + top
    return result if keep else op("_np_squeeze", result, axis=axes)


def _argument(name: str) -> Callable[[Node, Symbol], Symbol]:
    def rule(node: Node, x: Symbol) -> Symbol:
        axis, kind = node.axis(), node.dtype()
        keep, last = bool(node.attr("keepdims")), bool(node.attr("select_last_index"))
        if node.rank() == 0:
            return constant(np.zeros((), np.int64))
        x = op("BlockGrad", x)
        if kind in ("int8", "uint8", "bool", "float16"):
            x = cast(x, "float32")
        where = op(name, op("_npi_flip", x, axis=(axis,)) if last else x, axis=axis, keepdims=keep)
        where = cast(where, "int64")
        return op("_npi_rsubtract_scalar", where, scalar=node.dim(0, axis) - 1, is_int=True) if last else where

    return rule


TABLE.rule("ArgMax", since=12)(_argument("_npi_argmax"))
TABLE.rule("ArgMin", since=12)(_argument("_npi_argmin"))


@TABLE.rule("CumSum", since=11)
def cumsum(node: Node, x: Symbol, axis_input: Symbol) -> Symbol:
    axis = int(node.const(1).reshape(())) % node.rank()
    kind, size = node.dtype(), node.dim(0, axis)
    if node.attr("reverse"):
        x = op("_npi_flip", x, axis=(axis,))
    if node.attr("exclusive"):
        first = list(node.shape())
        first[axis] = 1
        zero = constant(np.zeros(first, kind))
        x = zero if size == 1 else concat([zero, cut(x, axis, 0, size - 1)], axis)
    x = op("_np_cumsum", x, axis=axis, dtype=kind)
    return op("_npi_flip", x, axis=(axis,)) if node.attr("reverse") else x


@TABLE.rule("TopK", since=10)
def top_k(node: Node, x: Symbol, count: Symbol) -> tuple[Symbol, Symbol]:
    """In order, of equal ones the first first, which no kernel of MXNet promises: equal ones are sorted again by place."""
    kind, axis, k = node.dtype(), node.axis(), int(node.const(1).reshape(()))
    shape, size, rank = node.shape(), node.dim(0, axis), node.rank()
    perm = [*(a for a in range(rank) if a != axis), axis]
    rows = int(np.prod(shape)) // size
    y = reshape(transpose(x, perm), (rows, size))
    compared = cast(y, {"float16": "float32", "int8": "int32", "uint8": "int32"}.get(kind, kind))
    compared = op("BlockGrad", compared)
    order = op("argsort", compared, axis=1, is_ascend=not node.attr("largest"), dtype="int64")
    base = constant(np.arange(rows, dtype=np.int64)[:, None] * size)
    if size > 1:
        ranked = op("_npi_take", reshape(compared, (-1,)), op("_npi_add", order, base), axis=0, mode="clip")
        steps = op("_npi_not_equal", cut(ranked, 1, 1, size), cut(ranked, 1, 0, size - 1))
        first = constant(np.zeros((rows, 1), np.int64))
        groups = concat([first, op("_np_cumsum", cast(steps, "int64"), axis=1, dtype="int64")], 1) * size
        order = op("_npi_subtract", op("sort", op("_npi_add", groups, order), axis=1), groups)
    order = cut(order, 1, 0, k)
    values = op("_npi_take", reshape(y, (-1,)), op("_npi_add", order, base), axis=0, mode="clip")
    moved = [*(shape[a] for a in perm[:-1]), k]
    back = [int(a) for a in np.argsort(perm)]
    return transpose(reshape(values, moved), back), transpose(reshape(order, moved), back)
