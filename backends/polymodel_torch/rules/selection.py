"""Operators that select elements, as many as the data decides: NonZero, Unique, NonMaxSuppression.

Nothing of what they return has a derivative in the standard, the values of Unique included.
"""

from __future__ import annotations

from typing import Any

from polymodel.plan import Node
from polymodel_torch.compat import torch
from polymodel_torch.rules.table import TABLE, leaf


@TABLE.rule("NonZero", since=13)
def nonzero(node: Node, x: Any) -> Any:
    return _nonzero(x)


@leaf
def _nonzero(x: torch.Tensor) -> torch.Tensor:
    return torch.nonzero(x).T.contiguous()


@TABLE.rule("Unique", since=11)
def unique(node: Node, x: Any) -> Any:
    axis = None if node.attr("axis") is None else node.axis()
    found = _unique(x, axis, bool(node.attr("sorted")))
    return tuple(found[i] for i in range(4))


@leaf
def _unique(x: torch.Tensor, axis: int | None, in_order: bool) -> tuple[torch.Tensor, ...]:
    """Values or slices, the place where each occurs first, which of them each element is, and how often each occurs."""
    x = x.detach()
    x = x.reshape(-1) if axis is None else x
    where, size = axis or 0, x.shape[axis or 0]
    keys = _comparable(x).movedim(where, 0).reshape(size, -1)
    if keys.shape[1] == 1:
        kept, inverse, counts = torch.unique(keys[:, 0], return_inverse=True, return_counts=True)
    else:
        kept, inverse, counts = torch.unique(keys, dim=0, return_inverse=True, return_counts=True)
    number = torch.arange(size, device=x.device)
    first = torch.full((kept.shape[0],), size, dtype=torch.int64, device=x.device)
    first = first.scatter_reduce(0, inverse, number, "amin")
    if not in_order:
        order = torch.argsort(first)
        inverse = torch.argsort(order)[inverse]
        first, counts = first[order], counts[order]
    signed = getattr(torch, str(x.dtype).removeprefix("torch.u")) if str(x.dtype).startswith("torch.uint") else None
    if signed is not None and x.dtype != torch.uint8:  # of the same width, with a kernel for moving
        return x.view(signed).index_select(where, first).view(x.dtype), first, inverse, counts
    return x.index_select(where, first), first, inverse, counts


def _comparable(x: torch.Tensor) -> torch.Tensor:
    """The same order in a type for which torch sorts."""
    if x.dtype in (torch.float16, torch.bfloat16):
        return x.float()
    if x.dtype == torch.uint64:
        return x.view(torch.int64) ^ torch.iinfo(torch.int64).min
    return x.to(torch.int64) if x.dtype in (torch.bool, torch.uint16, torch.uint32) else x


@TABLE.rule("NonMaxSuppression", since=10)
def non_max_suppression(
    node: Node, boxes: Any, scores: Any, limit: Any = None, overlap: Any = None, threshold: Any = None
) -> Any:
    return _suppress(boxes, scores, limit, overlap, threshold, bool(node.attr("center_point_box")))


@leaf
def _suppress(
    boxes: torch.Tensor, scores: torch.Tensor, limit: Any, overlap: Any, threshold: Any, centered: bool
) -> torch.Tensor:
    """(selected, 3) batch, class and box, each class in falling order of scores: one of every class in each round."""
    boxes, scores = boxes.detach(), scores.detach()
    most = 0 if limit is None else int(limit.reshape(()))
    overlap = 0.0 if overlap is None else overlap.reshape(())
    ranked, order = torch.sort(scores, dim=-1, descending=True, stable=True)
    edges = [e[:, None, :].expand(scores.shape).gather(2, order) for e in _edges(boxes, centered)]
    alive = torch.ones_like(order, dtype=torch.bool) if threshold is None else ranked > threshold.reshape(())
    place = torch.arange(scores.shape[2], device=scores.device)
    kept = torch.zeros_like(alive)
    for _ in range(min(most, scores.shape[2])):
        best = alive.to(torch.uint8).argmax(-1, keepdim=True)
        chosen = (place == best) & alive
        if not bool(chosen.any()):
            break
        kept |= chosen
        alive &= ~chosen & ~_overlapping(edges, [e.gather(2, best) for e in edges], overlap)
    found = torch.nonzero(kept)
    return torch.cat((found[:, :2], order[kept][:, None]), 1)


def _edges(boxes: torch.Tensor, centered: bool) -> list[torch.Tensor]:
    """Lower and upper edges along two axes, each (batch, boxes)."""
    a, b, c, d = boxes.unbind(-1)
    if centered:
        return [b - d / 2, a - c / 2, b + d / 2, a + c / 2]
    return [torch.minimum(a, c), torch.minimum(b, d), torch.maximum(a, c), torch.maximum(b, d)]


def _overlapping(p: list[torch.Tensor], q: list[torch.Tensor], limit: Any) -> torch.Tensor:
    """Whether intersection over union is above the limit; a box without area overlaps nothing."""
    high = torch.minimum(p[2], q[2]) - torch.maximum(p[0], q[0])
    wide = torch.minimum(p[3], q[3]) - torch.maximum(p[1], q[1])
    shared = high * wide
    areas = [(e[2] - e[0]) * (e[3] - e[1]) for e in (p, q)]
    union = areas[0] + areas[1] - shared
    real = (high > 0) & (wide > 0) & (shared > 0) & (areas[0] > 0) & (areas[1] > 0) & (union > 0)
    return real & (shared / union > limit)
