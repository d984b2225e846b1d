"""What goes between programs on several devices: copies of flat arrays, and sums on the first device.

The engine orders all of it behind what writes and reads those arrays, so nothing here waits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import TYPE_CHECKING, Any

from polymodel_mxnet.compat import translated
from polymodel_mxnet.layout import State
from polymodel_mxnet.symbols import push

if TYPE_CHECKING:
    from polymodel_mxnet.program import MXNetProgram


def hand(first: MXNetProgram, others: Sequence[MXNetProgram]) -> None:
    """Overwrite parameters and buffers of others; arrays that they share stay."""
    with translated():
        for other in others:
            for role in ("trained", "frozen", "held_buffers"):
                for own, their in _flats(getattr(first, role), getattr(other, role)):
                    if own is not their:
                        push("_copyto", own, out=their)


def collect(first: MXNetProgram, others: Sequence[MXNetProgram]) -> None:
    """Add the gathered gradients of others, and make theirs zero."""
    with translated():
        for other in others:
            for own, their in _flats(first.sums(), other.sums()):
                push("_npi_add", own, their.as_in_ctx(first.context), out=own)
            other.sums().clear()


def average(first: MXNetProgram, others: Sequence[MXNetProgram], shares: Sequence[float]) -> None:
    """Average the buffers that a step changes, into the first's."""
    assert first.training is not None
    moved = set(first.training.graph.updates)
    with translated():
        for i, (other, share) in enumerate(zip(others, shares[1:], strict=True)):
            for own, their in _moved(first.held_buffers, other.held_buffers, moved):
                more = push("_npi_multiply_scalar", their.as_in_ctx(first.context), scalar=share, is_int=False)
                if i == 0:
                    push("_npi_multiply_scalar", own, out=own, scalar=shares[0], is_int=False)
                push("_npi_add", own, more, out=own)


def _moved(own: State, their: State, names: Set[str]) -> Iterator[tuple[Any, Any]]:
    """Flat arrays of which everything moves, and else single tensors."""
    for a, b in zip(own.flats, their.flats, strict=True):
        if not a.dtype.startswith("float"):
            continue
        if a.views.keys() <= names:
            yield a.array, b.array
        else:
            yield from ((a.views[n], b.views[n]) for n in a.views if n in names)


def _flats(own: State, their: State) -> Iterator[tuple[Any, Any]]:
    return ((a.array, b.array) for a, b in zip(own.flats, their.flats, strict=True))
