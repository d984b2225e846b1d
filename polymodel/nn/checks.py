"""Checks of what a layer is given; the message shows what was expected and what came."""

from __future__ import annotations

from collections.abc import Sequence

from polymodel.errors import DtypeError, ShapeError
from polymodel.tensor import Operand, Tensor


def expect(x: Operand, *, rank: int | Sequence[int] | None = None, dtype: str | None = None, **axes: int) -> Tensor:
    """The tensor of an operand, checked.

    Args:
        x: what the layer was given.
        rank: how many axes it must have, or several numbers that are right.
        dtype: element type that it must have.
        axes: required sizes by axis: ``last=256``, ``axis1=3``; an axis of unknown size passes.

    Raises:
        ShapeError, DtypeError: it is not so.
    """
    if not isinstance(x, Operand):
        raise DtypeError(f"expected a tensor of the graph being built, received {type(x).__name__}")
    tensor = x.tensor()
    spec = tensor.spec
    ranks = (rank,) if isinstance(rank, int) else tuple(rank or ())
    if ranks and spec.rank not in ranks:
        raise ShapeError(f"expected {' or '.join(map(str, ranks))} axes, received {spec}")
    if dtype is not None and spec.dtype != dtype:
        raise DtypeError(f"expected {dtype}, received {spec}: cast it, or build the layer with dtype={spec.dtype!r}")
    for word, size in axes.items():
        axis = -1 if word == "last" else int(word.removeprefix("axis"))
        if axis >= spec.rank or spec.rank == 0:
            raise ShapeError(f"expected {_words(word)} {size}, received {spec}, which has {spec.rank} axes")
        if isinstance(spec.shape[axis], int) and spec.shape[axis] != size:
            raise ShapeError(f"expected {_words(word)} {size}, received {spec}")
    return tensor


def pair(value: int | Sequence[int], n: int, what: str) -> list[int]:
    """One number for every spatial axis, or one for all of them.

    Raises:
        ShapeError: there are neither one nor n numbers.
    """
    values = [value] * n if isinstance(value, int) else [int(v) for v in value]
    if len(values) != n:
        raise ShapeError(f"{what} has one number or {n}, received {value!r}")
    return values


def expect_window(x: Operand, kernel: Sequence[int], pads: Sequence[int], dilations: Sequence[int]) -> None:
    """Refuse a window that is larger than the input with its padding; axes of unknown size pass.

    Args:
        x: (batch, channels, *space).
        kernel: size for each axis of space.
        pads: begins of all axes of space, then ends.
        dilations: distance of the kernel's elements, for each axis.

    Raises:
        ShapeError: it is so.
    """
    n = len(kernel)
    for axis, (size, k, d) in enumerate(zip(x.shape[2:], kernel, dilations, strict=True)):
        reach, room = d * (k - 1) + 1, pads[axis] + pads[axis + n]
        if isinstance(size, int) and size + room < reach:
            raise ShapeError(
                f"expected axis {axis + 2} of size {reach - room} or more, which a window of {reach} needs with {room} "
                f"of padding; received {x.spec}"
            )


def _words(word: str) -> str:
    return "last axis" if word == "last" else f"axis {word.removeprefix('axis')} of size"
