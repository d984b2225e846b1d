"""Sums, means, extremes and orders along axes.

Derivatives at ties: ReduceMax and ReduceMin share the derivative evenly among tied elements; TopK gives it to the
elements that it returns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polymodel.feeds import is_float
from polymodel.plan import Node
from polymodel_torch.compat import torch
from polymodel_torch.rules.table import TABLE, ints, leaf, numbers

_Kernel = Callable[[torch.Tensor, tuple[int, ...], bool], torch.Tensor]


def _sum(x: torch.Tensor, axes: tuple[int, ...], keep: bool) -> torch.Tensor:
    return torch.sum(x, axes, keepdim=keep, dtype=x.dtype)


def _mean(x: torch.Tensor, axes: tuple[int, ...], keep: bool) -> torch.Tensor:
    if x.is_floating_point():
        return torch.mean(x, axes, keepdim=keep)
    count = x.numel() // max(1, _sum(torch.ones_like(x), axes, keep).numel())
    return torch.div(_sum(x, axes, keep), count, rounding_mode="trunc")


def _extreme(x: torch.Tensor, axes: tuple[int, ...], keep: bool, largest: bool) -> torch.Tensor:
    if x.dtype == torch.bool:
        return _extreme(x.to(torch.uint8), axes, keep, largest).to(torch.bool)
    if any(x.shape[a] == 0 for a in axes):
        shape = [1 if a in axes else d for a, d in enumerate(x.shape) if keep or a not in axes]
        return torch.full(shape, _limit(x.dtype, not largest), dtype=x.dtype, device=x.device)
    return (torch.amax if largest else torch.amin)(x, axes, keepdim=keep)


def _limit(dtype: torch.dtype, largest: bool) -> float:
    if dtype.is_floating_point:
        return float("inf") if largest else float("-inf")
    info = torch.iinfo(dtype)
    return int(info.max if largest else info.min)


def _max(x: torch.Tensor, axes: tuple[int, ...], keep: bool) -> torch.Tensor:
    return _extreme(x, axes, keep, True)


def _min(x: torch.Tensor, axes: tuple[int, ...], keep: bool) -> torch.Tensor:
    return _extreme(x, axes, keep, False)


def _prod(x: torch.Tensor, axes: tuple[int, ...], keep: bool) -> torch.Tensor:
    for axis in sorted(axes, reverse=True):
        x = torch.prod(x, axis, keepdim=keep, dtype=x.dtype)
    return x


def _l1(x: torch.Tensor, axes: tuple[int, ...], keep: bool) -> torch.Tensor:
    return _sum(torch.abs(x), axes, keep)


def _l2(x: torch.Tensor, axes: tuple[int, ...], keep: bool) -> torch.Tensor:
    if x.is_floating_point():
        return torch.linalg.vector_norm(x, 2, axes, keepdim=keep)
    return torch.sqrt(_sum(x.double() ** 2, axes, keep)).to(x.dtype)


def _sum_square(x: torch.Tensor, axes: tuple[int, ...], keep: bool) -> torch.Tensor:
    return _sum(x * x, axes, keep)


def _log_sum(x: torch.Tensor, axes: tuple[int, ...], keep: bool) -> torch.Tensor:
    return torch.log(_sum(x, axes, keep).to(_floating(x))).to(x.dtype)


def _log_sum_exp(x: torch.Tensor, axes: tuple[int, ...], keep: bool) -> torch.Tensor:
    """Shifted by the maximum, which is taken as 0 where it is not finite, so that infinities come out right. The derivative of
    torch.logsumexp takes exp(x - y) of the rounded result y, which is wrong by |y| units of the last place."""
    wide = x.to(_floating(x))
    top = _max(wide.detach(), axes, True)
    top = torch.where(torch.isfinite(top), top, torch.zeros_like(top))
    result = torch.log(_sum(torch.exp(wide - top), axes, True)) + top
    return (result if keep else result.squeeze(axes)).to(x.dtype)


def _floating(x: torch.Tensor) -> torch.dtype:
    return x.dtype if x.is_floating_point() else torch.float64


_REDUCTIONS: dict[str, tuple[int, _Kernel]] = {
    "ReduceSum": (13, _sum),
    "ReduceMean": (18, _mean),
    "ReduceMax": (18, _max),
    "ReduceMin": (18, _min),
    "ReduceProd": (18, _prod),
    "ReduceL1": (18, _l1),
    "ReduceL2": (18, _l2),
    "ReduceLogSum": (18, _log_sum),
    "ReduceLogSumExp": (18, _log_sum_exp),
    "ReduceSumSquare": (18, _sum_square),
}

_POINTWISE = {
    "ReduceL1": torch.abs,
    "ReduceL2": torch.abs,
    "ReduceLogSum": torch.log,
    "ReduceSumSquare": torch.square,
}
"""What a reduction over no axes at all does to each element; the others leave it as it is."""


def _register_reductions() -> None:
    for op_type, (since, kernel) in _REDUCTIONS.items():
        call = leaf(kernel)
        TABLE.rule(op_type, since=since)(lambda node, x, axes=None, k=call: _reduce(node, x, k))


def _reduce(node: Node, x: Any, kernel: Callable[..., Any]) -> Any:
    axes = _axes(node)
    if not axes:
        return _POINTWISE[node.op_type](x) if node.op_type in _POINTWISE else x
    if kernel.__wrapped__ in (_sum, _mean) and is_float(node.dtype()):  # type: ignore[attr-defined]
        return (torch.sum if kernel.__wrapped__ is _sum else torch.mean)(  # type: ignore[attr-defined]
            x, axes, keepdim=bool(node.attr("keepdims"))
        )
    return kernel(x, axes, bool(node.attr("keepdims")))


def _axes(node: Node) -> tuple[int, ...]:
    """The axes to reduce, from the front; () when nothing is reduced."""
    rank = node.rank()
    given: tuple[int, ...] = ()
    if node.has_input(1):
        given = () if node.spec(1).shape == (0,) else tuple(int(a) for a in node.const(1))
    elif node.attr("axes") is not None:
        given = tuple(node.attr("axes"))
    if not given:
        return () if node.attr("noop_with_empty_axes") else tuple(range(rank))
    return tuple(sorted(a % rank for a in given))


_register_reductions()


@TABLE.rule("ArgMax", "ArgMin", since=13)
def arg_extreme(node: Node, x: Any) -> Any:
    largest, axis = node.op_type == "ArgMax", node.axis()
    return _arg_extreme(x, axis, bool(node.attr("keepdims")), largest, bool(node.attr("select_last_index")))


@leaf
def _arg_extreme(x: torch.Tensor, axis: int, keep: bool, largest: bool, last: bool) -> torch.Tensor:
    """Index of the first of several extremes, as torch promises, or of the last."""
    function = torch.argmax if largest else torch.argmin
    if last:
        return x.shape[axis] - 1 - function(torch.flip(x, (axis,)), axis, keepdim=keep)
    return function(x, axis, keepdim=keep)


@TABLE.rule("CumSum", since=14)
def cumsum(node: Node, x: Any, axis: Any) -> Any:
    return _cumulate(x, numbers(node, 1, axis), bool(node.attr("exclusive")), bool(node.attr("reverse")), "sum")


@TABLE.rule("CumProd", since=26)
def cumprod(node: Node, x: Any, axis: Any) -> Any:
    return _cumulate(x, numbers(node, 1, axis), bool(node.attr("exclusive")), bool(node.attr("reverse")), "prod")


@leaf
def _cumulate(x: torch.Tensor, where: Any, exclusive: bool, reverse: bool, kind: str) -> torch.Tensor:
    axis = ints(where)[0]
    if reverse:
        x = torch.flip(x, (axis,))
    y = (torch.cumsum if kind == "sum" else torch.cumprod)(x, axis, dtype=x.dtype)
    if exclusive and x.shape[axis]:
        first = torch.full_like(y.narrow(axis, 0, 1), 0 if kind == "sum" else 1)
        y = torch.cat((first, y.narrow(axis, 0, x.shape[axis] - 1)), axis)
    return torch.flip(y, (axis,)) if reverse else y


@TABLE.rule("TopK", since=11)
def topk(node: Node, x: Any, k: Any) -> Any:
    pair = _topk(x, numbers(node, 1, k), node.axis(), bool(node.attr("largest")))
    return pair[0], pair[1]


@leaf
def _topk(x: torch.Tensor, k: Any, axis: int, largest: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """The k extremes in order, of equal ones those with the lower index first, which torch.topk does not promise."""
    order = torch.argsort(x, dim=axis, descending=largest, stable=True).narrow(axis, 0, ints(k)[0])
    return torch.gather(x, axis, order), order

