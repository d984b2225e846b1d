"""Reading and writing at computed places. Negative indices count from the end, as everywhere in the standard."""

from __future__ import annotations

from typing import Any

from polymodel.plan import Node
from polymodel_torch.compat import torch
from polymodel_torch.rules.table import TABLE, ints, leaf, numbers


def _positive(index: torch.Tensor, size: int) -> torch.Tensor:
    index = index.to(torch.int64)
    return torch.where(index < 0, index + size, index)


@TABLE.rule("Gather", since=13)
def gather(node: Node, x: Any, index: Any) -> Any:
    axis = node.axis()
    if node.is_const(1) and node.spec(1).rank == 0:
        return torch.select(x, axis, int(node.const(1).item()))
    return _gather(x, index, axis)


@leaf
def _gather(x: torch.Tensor, index: torch.Tensor, axis: int) -> torch.Tensor:
    flat = _positive(index.reshape(-1), x.shape[axis])
    if axis == 0 and x.dim() == 2 and x.is_floating_point():
        return torch.embedding(x, flat).reshape((*index.shape, x.shape[1]))
    picked = torch.index_select(x, axis, flat)
    return picked.reshape((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]))


@TABLE.rule("GatherElements", since=13)
def gather_elements(node: Node, x: Any, index: Any) -> Any:
    return _gather_elements(x, index, node.axis())


@leaf
def _gather_elements(x: torch.Tensor, index: torch.Tensor, axis: int) -> torch.Tensor:
    return torch.gather(x, axis, _positive(index, x.shape[axis]))


@TABLE.rule("GatherND", since=13)
def gather_nd(node: Node, x: Any, index: Any) -> Any:
    return _gather_nd(x, index, int(node.attr("batch_dims")))


@leaf
def _gather_nd(x: torch.Tensor, index: torch.Tensor, batch: int) -> torch.Tensor:
    parts = [_positive(p, x.shape[batch + k]) for k, p in enumerate(index.unbind(-1))]
    if batch == 0:
        return x[tuple(parts)]
    grid = torch.meshgrid(*(torch.arange(n, device=x.device) for n in x.shape[:batch]), indexing="ij")
    extra = index.dim() - 1 - batch
    return x[(*(g.reshape(*g.shape, *[1] * extra) for g in grid), *parts)]


@TABLE.rule("ScatterElements", since=13)
def scatter_elements(node: Node, x: Any, index: Any, updates: Any) -> Any:
    return _scatter_elements(x, index, updates, node.axis(), node.attr("reduction") or "none")


_REDUCE = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@leaf
def _scatter_elements(
    x: torch.Tensor, index: torch.Tensor, updates: torch.Tensor, axis: int, reduction: str
) -> torch.Tensor:
    index = _positive(index, x.shape[axis])
    if reduction == "none":
        return torch.scatter(x, axis, index, updates)
    return torch.scatter_reduce(x, axis, index, updates, _REDUCE[reduction], include_self=True)


@TABLE.rule("ScatterND", since=13)
def scatter_nd(node: Node, x: Any, index: Any, updates: Any) -> Any:
    return _scatter_nd(x, index, updates, node.attr("reduction") or "none")


@leaf
def _scatter_nd(x: torch.Tensor, index: torch.Tensor, updates: torch.Tensor, reduction: str) -> torch.Tensor:
    """Write slices at the places that rows of `index` name, as a scatter into the flattened leading axes."""
    depth = index.shape[-1]
    lead, rest = x.shape[:depth], x.shape[depth:]
    row = torch.zeros(index.shape[:-1], dtype=torch.int64, device=x.device)
    for k, part in enumerate(index.unbind(-1)):
        row = row * lead[k] + _positive(part, lead[k])
    width = int(torch.Size(rest).numel())
    flat, values = x.reshape(-1, width), updates.reshape(-1, width)
    place = row.reshape(-1, 1).expand(-1, width)
    if reduction == "none":
        return torch.scatter(flat, 0, place, values).reshape(x.shape)
    return torch.scatter_reduce(flat, 0, place, values, _REDUCE[reduction], include_self=True).reshape(x.shape)


@TABLE.rule("OneHot", since=11)
def one_hot(node: Node, index: Any, depth: Any, values: Any) -> Any:
    axis = int(node.attr("axis"))
    axis = axis + node.rank() + 1 if axis < 0 else axis
    return _one_hot(index, numbers(node, 1, depth), values, axis)


@leaf
def _one_hot(index: torch.Tensor, depths: Any, values: torch.Tensor, axis: int) -> torch.Tensor:
    """`values` is (off, on); an index outside [-depth, depth - 1] gives a row of off."""
    depth = ints(depths)[0]
    index = _positive(index, depth)
    hot = index.unsqueeze(-1) == torch.arange(depth, device=index.device)
    return torch.where(hot, values[1], values[0]).movedim(-1, axis)
