"""Tensor indexing by numbers, slices, None and Ellipsis, as operators of the standard."""

from __future__ import annotations

import sys
from typing import Any

from polymodel.builder import current_builder
from polymodel.errors import ShapeError
from polymodel.tensor import Operand, Tensor

_END = sys.maxsize  # ONNX Slice clamps it to the size of the axis


def getitem(x: Operand, index: Any) -> Tensor:
    """x[index] with NumPy's meaning of integers, slices, None and Ellipsis; arrays and tensors are refused.

    A number emits Gather (Squeeze on an axis of size 1), slices one Slice, None Unsqueeze.

    Raises:
        ShapeError: there are more indices than axes, or a number is outside an axis of known size.
    """
    items = _complete(x, index if isinstance(index, tuple) else (index,))
    b = current_builder()
    result = x.tensor()
    given = enumerate(i for i in items if i is not None)
    slices = [(a, i) for a, i in given if isinstance(i, slice) and i != slice(None)]
    if slices:
        result = b.op(
            "Slice",
            result,
            [_start(s) for _, s in slices],
            [_stop(s) for _, s in slices],
            [a for a, _ in slices],
            [1 if s.step is None else int(s.step) for _, s in slices],
        )
    axis = 0
    for item in (i for i in items if i is not None):
        if isinstance(item, int):
            result = _pick(x, result, axis, item)
        else:
            axis += 1
    kept = [i for i in items if not isinstance(i, int)]
    new = [a for a, i in enumerate(kept) if i is None]
    return b.op("Unsqueeze", result, new) if new else result


def _complete(x: Operand, items: tuple[Any, ...]) -> list[Any]:
    """The indices with Ellipsis written out, one for each axis of x besides the Nones."""
    for item in items:
        if not (item is None or item is Ellipsis or isinstance(item, slice | int)) or isinstance(item, bool):
            raise ShapeError(
                f"an index is a number, a slice, None or Ellipsis; received {type(item).__name__}: use "
                "nn.functional.where or the Gather operator for the rest"
            )
    given = sum(1 for i in items if i is not None and i is not Ellipsis)
    if given > x.rank or sum(1 for i in items if i is Ellipsis) > 1:
        raise ShapeError(f"{given} indices for {x.spec}")
    at = next((n for n, i in enumerate(items) if i is Ellipsis), len(items))
    fill = [slice(None)] * (x.rank - given)
    return [*items[:at], *fill, *items[at + 1 :]]


def _pick(x: Operand, result: Tensor, axis: int, item: int) -> Tensor:
    size = result.shape[axis]
    if isinstance(size, int) and not -size <= item < size:
        raise ShapeError(f"index {item} is outside an axis of size {size} of {x.spec}")
    b = current_builder()
    if size == 1:
        return b.op("Squeeze", result, [axis])
    return b.op("Gather", result, b.constant(item, "int64"), axis=axis)


def _start(s: slice) -> int:
    return int(s.start) if s.start is not None else 0 if (s.step or 1) > 0 else _END


def _stop(s: slice) -> int:
    return int(s.stop) if s.stop is not None else _END if (s.step or 1) > 0 else -_END
