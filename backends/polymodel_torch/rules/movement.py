"""Operators that move elements without computing: shapes, joins, cuts, paddings."""

from __future__ import annotations

from typing import Any

import numpy as np

from polymodel.errors import NeedsStaticShape
from polymodel.plan import Node
from polymodel_torch.compat import torch
from polymodel_torch.dtypes import from_enum, to_torch, torch_dtype
from polymodel_torch.rules.table import TABLE, ints, leaf, numbers


@TABLE.rule("Reshape", since=13)
def reshape(node: Node, x: Any, shape: Any) -> Any:
    if not node.is_const(1):
        return _reshape(x, shape, bool(node.attr("allowzero")))
    sizes: list[Any] = [int(d) for d in node.const(1)]
    inferred = -1 in sizes  # asked before unknown sizes come in, which cannot be compared while tracing
    if not node.attr("allowzero") and 0 in sizes:
        sizes = [(_size(node, x, i) if d == 0 else d) for i, d in enumerate(sizes)]
    if inferred and node.outputs[0].is_static:
        sizes = list(node.out_shape())
    return torch.reshape(x, tuple(sizes))


def _size(node: Node, x: Any, axis: int) -> Any:
    """A size as a number, or as a value of the program where it is unknown."""
    dim = node.spec(0).shape[axis]
    return dim if isinstance(dim, int) else x.size(axis)


@leaf
def _reshape(x: torch.Tensor, shape: torch.Tensor, allow_zero: bool) -> torch.Tensor:
    sizes = ints(shape)
    return x.reshape(sizes if allow_zero else [x.shape[i] if d == 0 else d for i, d in enumerate(sizes)])


@TABLE.rule("Transpose", since=13)
def transpose(node: Node, x: Any) -> Any:
    perm = node.attr("perm") or tuple(reversed(range(node.rank())))
    return torch.permute(x, tuple(perm))


@TABLE.rule("Flatten", since=13)
def flatten(node: Node, x: Any) -> Any:
    axis, shape = node.axis(), node.spec(0).shape
    front, back = shape[:axis], shape[axis:]
    if all(isinstance(d, int) for d in front):
        rows = int(np.prod([d for d in front if isinstance(d, int)], dtype=np.int64))
        columns: Any = -1
        if all(isinstance(d, int) for d in back):
            columns = int(np.prod([d for d in back if isinstance(d, int)], dtype=np.int64))
        return torch.reshape(x, (rows, columns))
    if all(isinstance(d, int) for d in back) and 0 not in back:
        columns = int(np.prod([d for d in back if isinstance(d, int)], dtype=np.int64))
        return torch.reshape(x, (-1, columns))
    raise NeedsStaticShape(f"{node}: sizes on both sides of axis {axis} are unknown")


@TABLE.rule("Squeeze", since=13)
def squeeze(node: Node, x: Any, axes: Any = None) -> Any:
    rank = node.rank()
    if node.has_input(1):
        which = {int(a) % rank for a in node.const(1).reshape(-1)}
    else:
        which = {a for a, d in enumerate(node.shape()) if d == 1}
    for axis in sorted(which, reverse=True):
        x = torch.squeeze(x, axis)
    return x


@TABLE.rule("Unsqueeze", since=13)
def unsqueeze(node: Node, x: Any, axes: Any) -> Any:
    given = [int(a) for a in node.const(1).reshape(-1)]
    rank = node.rank() + len(given)
    for axis in sorted(a % rank for a in given):
        x = torch.unsqueeze(x, axis)
    return x


@TABLE.rule("Concat", since=13)
def concat(node: Node, *inputs: Any) -> Any:
    return torch.cat(inputs, node.axis())


@TABLE.rule("Split", since=13)
def split(node: Node, x: Any, sizes: Any = None) -> Any:
    axis = node.axis()
    if node.has_input(1):
        parts = [int(s) for s in node.const(1)]
    else:
        count, whole = len(node.output_names), node.dim(0, axis)
        step = -(-whole // count)
        parts = [max(0, min(step, whole - i * step)) for i in range(count)]
    pieces = torch.split(x, parts, axis)
    return tuple(pieces[i] for i in range(len(parts)))


@TABLE.rule("Slice", since=13)
def slice_(node: Node, x: Any, *given: Any) -> Any:
    starts, ends, axes, steps = (*(numbers(node, i + 1, v) for i, v in enumerate(given)), None, None)[:4]
    if not all(isinstance(v, tuple | None) for v in (starts, ends, axes, steps)):
        return _slice(x, starts, ends, axes, steps)
    axes, steps = axes or range(len(starts)), steps or (1,) * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        x = _cut(x, axis % node.rank(), start, end, step)
    return x


@leaf
def _slice(x: torch.Tensor, starts: Any, ends: Any, axes: Any, steps: Any) -> torch.Tensor:
    starts, ends = ints(starts), ints(ends)
    axes = range(len(starts)) if axes is None else ints(axes)
    steps = (1,) * len(starts) if steps is None else ints(steps)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        x = _cut(x, axis % x.dim(), start, end, step)
    return x


@leaf
def _cut(x: torch.Tensor, axis: int, start: int, end: int, step: int) -> torch.Tensor:
    size = x.shape[axis]
    if step > 0:
        first, last, _ = slice(start, end, step).indices(size)
        return x[(*[slice(None)] * axis, slice(first, max(first, last), step))]
    first = min(max(start + size if start < 0 else start, -1), size - 1)
    last = min(max(end + size if end < 0 else end, -1), size - 1)
    return torch.index_select(x, axis, torch.arange(first, min(first, last), step, device=x.device))


@TABLE.rule("Expand", since=13)
def expand(node: Node, x: Any, shape: Any) -> Any:
    return _expand(x, numbers(node, 1, shape))


@leaf
def _expand(x: torch.Tensor, shape: Any) -> torch.Tensor:
    return x.expand(torch.broadcast_shapes(x.shape, ints(shape)))


@TABLE.rule("Tile", since=13)
def tile(node: Node, x: Any, repeats: Any) -> Any:
    return _tile(x, numbers(node, 1, repeats))


@leaf
def _tile(x: torch.Tensor, repeats: Any) -> torch.Tensor:
    return torch.tile(x, ints(repeats))


@TABLE.rule("Pad", since=13)
def pad(node: Node, x: Any, pads: Any, value: Any = None, axes: Any = None) -> Any:
    if node.is_const(2):
        value = node.const(2).item() if node.const(2).size else 0
    return _pad(x, numbers(node, 1, pads), value, numbers(node, 3, axes), node.attr("mode"))


@leaf
def _pad(x: torch.Tensor, pads: Any, value: Any, axes: Any, mode: str) -> torch.Tensor:
    """Constant padding; others repeat elements, as a choice of indices per axis: any rank, any dtype."""
    rank, amounts = x.dim(), ints(pads)
    which = range(rank) if axes is None else [a % rank for a in ints(axes)]
    before, after = [0] * rank, [0] * rank
    for i, axis in enumerate(which):
        before[axis], after[axis] = amounts[i], amounts[i + len(which)]
    if mode == "constant":
        flat = [p for a in reversed(range(rank)) for p in (before[a], after[a])]
        if not isinstance(value, torch.Tensor):
            return torch.nn.functional.pad(x, flat, value=value or 0)
        border = torch.nn.functional.pad(torch.zeros_like(x, dtype=torch.bool), flat, value=True)
        return torch.where(border, value.reshape(()), torch.nn.functional.pad(x, flat))
    for axis, (low, high) in enumerate(zip(before, after, strict=True)):
        if low == 0 and high == 0:
            continue
        size = x.shape[axis]
        index = torch.arange(-low, size + high, device=x.device)
        if mode == "edge":
            index = index.clamp(0, size - 1)
        elif mode == "wrap":
            index = index.remainder(size)
        else:
            period = max(1, 2 * (size - 1))
            index = index.remainder(period)
            index = torch.where(index >= size, period - index, index)
        x = torch.index_select(x, axis, index)
    return x


@TABLE.rule("DepthToSpace", since=13)
def depth_to_space(node: Node, x: Any) -> Any:
    b, (n, c, h, w) = int(node.attr("blocksize")), node.shape()
    if node.attr("mode") == "CRD":
        y = torch.permute(torch.reshape(x, (n, c // b**2, b, b, h, w)), (0, 1, 4, 2, 5, 3))
    else:
        y = torch.permute(torch.reshape(x, (n, b, b, c // b**2, h, w)), (0, 3, 4, 1, 5, 2))
    return torch.reshape(y, (n, c // b**2, h * b, w * b))


@TABLE.rule("SpaceToDepth", since=13)
def space_to_depth(node: Node, x: Any) -> Any:
    b, (n, c, h, w) = int(node.attr("blocksize")), node.shape()
    y = torch.reshape(x, (n, c, h // b, b, w // b, b))
    if (node.attr("mode") or "DCR") == "CRD":
        y = torch.permute(y, (0, 1, 3, 5, 2, 4))
    else:
        y = torch.permute(y, (0, 3, 5, 1, 2, 4))
    return torch.reshape(y, (n, c * b**2, h // b, w // b))


@TABLE.rule("Trilu", since=14)
def trilu(node: Node, x: Any, k: Any = None) -> Any:
    return _trilu(x, numbers(node, 1, k) if node.has_input(1) else (0,), bool(node.attr("upper")))


@leaf
def _trilu(x: torch.Tensor, k: Any, upper: bool) -> torch.Tensor:
    return (torch.triu if upper else torch.tril)(x, ints(k)[0])


@TABLE.rule("Constant", since=13)
def constant(node: Node) -> Any:
    for name, dtype in (("value", None), ("value_float", "float32"), ("value_floats", "float32"),
                        ("value_int", "int64"), ("value_ints", "int64")):
        value = node.attr(name)
        if value is not None:
            return to_torch(np.array(value, dtype), str(torch.empty(0).device))
    raise NeedsStaticShape(f"{node}: a constant that is no tensor of numbers")


@TABLE.rule("ConstantOfShape", since=9)
def constant_of_shape(node: Node, shape: Any) -> Any:
    value = node.attr("value")
    fill = np.zeros(1, np.float32) if value is None else np.asarray(value)
    sizes = node.out_shape() if node.outputs[0].is_static else None
    return _full(shape, sizes, fill.item(), torch_dtype(fill.dtype.name))


@leaf
def _full(shape: torch.Tensor, sizes: tuple[int, ...] | None, fill: Any, dtype: torch.dtype) -> torch.Tensor:
    return torch.full(sizes if sizes is not None else tuple(shape.tolist()), fill, dtype=dtype, device=shape.device)


@TABLE.rule("Shape", since=13)
def shape_of(node: Node, x: Any) -> Any:
    return _shape(x, node.attr("start") or 0, node.attr("end"))


@leaf
def _shape(x: torch.Tensor, start: int, end: int | None) -> torch.Tensor:
    return torch.tensor(tuple(x.shape)[start:end], dtype=torch.int64, device=x.device)


@TABLE.rule("Size", since=13)
def size_of(node: Node, x: Any) -> Any:
    return _count(x)


@leaf
def _count(x: torch.Tensor) -> torch.Tensor:
    return torch.tensor(x.numel(), dtype=torch.int64, device=x.device)


@TABLE.rule("Range", since=11)
def range_(node: Node, start: Any, limit: Any, delta: Any) -> Any:
    return _range(start, limit, delta)


@leaf
def _range(start: torch.Tensor, limit: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
    count = max(0, int(np.ceil((limit.item() - start.item()) / delta.item())))
    return start.reshape(()) + torch.arange(count, dtype=start.dtype, device=start.device) * delta.reshape(())


@TABLE.rule("EyeLike", since=9)
def eye_like(node: Node, x: Any) -> Any:
    dtype = torch_dtype(node.dtype()) if node.attr("dtype") is None else from_enum(node.attr("dtype"))
    return _eye(x, int(node.attr("k")), dtype)


@leaf
def _eye(x: torch.Tensor, k: int, dtype: torch.dtype) -> torch.Tensor:
    rows, columns = (torch.arange(n, device=x.device) for n in x.shape)
    return (columns[None, :] - rows[:, None] == k).to(dtype)
