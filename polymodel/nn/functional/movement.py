"""Changes of shape that keep the elements, joining and cutting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from polymodel.builder import current_builder
from polymodel.errors import ShapeError
from polymodel.tensor import Operand, Tensor


def flatten(x: Operand, start_dim: int = 1, end_dim: int = -1) -> Tensor:
    """Join the axes start_dim to end_dim into one; by default everything behind the batch axis.

    Example:
        >>> from polymodel import Model, TensorSpec, nn
        >>> model = Model(nn.Flatten(), {"x": TensorSpec(("batch", 2, 3, 4))}, ["y"])
        >>> print(model.graph.specs["y"])
        float32[batch, 24]
    """
    first, last = (d + x.rank if d < 0 else d for d in (start_dim, end_dim))
    if not 0 <= first <= last < x.rank:
        raise ShapeError(f"flatten from axis {start_dim} to {end_dim} does not fit {x.spec}")
    if first == last:
        return x.tensor()
    if first == 1 and last == x.rank - 1:
        return current_builder().op("Flatten", x, axis=1)
    return reshape(x, [0] * first + [-1] + [_size(x, a) for a in range(last + 1, x.rank)])


def reshape(x: Operand, shape: Sequence[int]) -> Tensor:
    """The same elements in another shape: -1 is what is left over (once), 0 keeps the size of that axis.

    A batch of unknown size stays so with 0 in its place.
    """
    return current_builder().op("Reshape", x, list(shape))


def permute(x: Operand, dims: Sequence[int]) -> Tensor:
    """The axes in another order."""
    return current_builder().op("Transpose", x, perm=[d + x.rank if d < 0 else d for d in dims])


def squeeze(x: Operand, dim: int | Sequence[int]) -> Tensor:
    """Remove axes of size 1."""
    return current_builder().op("Squeeze", x, [dim] if isinstance(dim, int) else list(dim))


def unsqueeze(x: Operand, dim: int | Sequence[int]) -> Tensor:
    """Insert axes of size 1."""
    return current_builder().op("Unsqueeze", x, [dim] if isinstance(dim, int) else list(dim))


def concat(tensors: Sequence[Operand], dim: int = 0) -> Tensor:
    """Join tensors along an axis."""
    return current_builder().op("Concat", *tensors, axis=dim)


def stack(tensors: Sequence[Operand], dim: int = 0) -> Tensor:
    """Join tensors along a new axis."""
    return concat([unsqueeze(t, dim) for t in tensors], dim)


def split(x: Operand, sizes: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Cut an axis into parts of the given sizes, or into an equal number of parts when one number is given.

    (torch.split reads a single number as the size of a part; here, as in torch.chunk and ONNX, it counts the parts.)
    """
    b = current_builder()
    if isinstance(sizes, int):
        return b.ops("Split", x, outputs=sizes, axis=dim, num_outputs=sizes)
    return b.ops("Split", x, list(sizes), outputs=len(sizes), axis=dim)


def pad(x: Operand, pads: Sequence[int], value: float = 0.0, mode: str = "constant") -> Tensor:
    """Add elements around the edges.

    Args:
        x: any tensor.
        pads: (begin, end) of the last axis, then of the one before it, and so on, as in torch.nn.functional.pad.
        value: what is added in mode "constant".
        mode: "constant", "reflect", "edge" or "wrap".
    """
    count = len(pads) // 2
    if len(pads) % 2 or count > x.rank:
        raise ShapeError(f"pads come in pairs, at most one for each axis of {x.spec}; received {list(pads)}")
    begins, ends = [0] * (x.rank - count) + list(pads[0::2])[::-1], [0] * (x.rank - count) + list(pads[1::2])[::-1]
    fill: Any = value if mode == "constant" else None
    return current_builder().op("Pad", x, begins + ends, fill, mode=mode)


def _size(x: Operand, axis: int) -> int:
    size = x.shape[axis]
    if not isinstance(size, int):
        raise ShapeError(f"axis {axis} of {x.spec} has no known size: name the batch axis only, or use reshape")
    return size
