"""Operators that take or place elements by computed indices, written with Gather."""

from __future__ import annotations

import numpy as np

from polymodel.bodies.table import BODIES, Body
from polymodel.errors import GraphError
from polymodel.plan import Node


@BODIES.rule("Compress", since=9)
def compress(b: Body, node: Node, x: str, condition: str) -> str:
    """The elements, or slices along an axis, where the condition holds; a short condition means none of the rest."""
    if node.attr("axis") is None:
        x, axis = b.reshape(x, (-1,)), 0
    else:
        axis = node.axis()
    places = b.call("Squeeze", b.call("NonZero", condition), b.constant([0], "int64"))
    return b.call("Gather", x, places, axis=axis)


@BODIES.rule("ReverseSequence", since=10)
def reverse_sequence(b: Body, node: Node, x: str, lengths: str) -> str:
    """The first `lengths` steps of each sequence backwards, the rest as it is."""
    time, batch = (int(node.attr(a)) % node.rank() for a in ("time_axis", "batch_axis"))
    if time == batch:
        raise GraphError(f"{node}: time_axis and batch_axis are both {time}, expected two different axes")
    if 0 in node.shape():
        return x
    steps = np.arange(node.dim(0, time))
    ends = b.reshape(b.cast(lengths, "int64"), (node.dim(0, batch), 1))
    step = b.constant(steps, "int64")
    mirrored = b.call("Sub", b.call("Sub", ends, b.constant(1, "int64")), step)
    source = b.call("Where", b.call("Less", step, ends), mirrored, step)
    return _along(b, x, node.shape(0), batch, time, source)


@BODIES.rule("TensorScatter", since=24)
def tensor_scatter(b: Body, node: Node, cache: str, update: str, places: str | None = None) -> str:
    """Each place of the cache asks which step of the update is written to it, if any."""
    axis = node.axis()
    batch, size, length = node.dim(0, 0), node.dim(0, axis), node.dim(1, axis)
    if length == 0 or size == 0:
        return cache
    if length > size:
        raise GraphError(f"{node}: an update of {length} steps is longer than the cache, which has {size}")
    start = b.constant(np.zeros((batch, 1)), "int64") if places is None else b.reshape(b.cast(places, "int64"), (batch, 1))
    source = b.call("Sub", b.constant(np.arange(size), "int64"), start)
    if node.attr("mode") == "circular":
        source = b.call("Mod", source, b.constant(size, "int64"))
    zero, top = b.constant(0, "int64"), b.constant(length, "int64")
    written = b.call("And", b.call("GreaterOrEqual", source, zero), b.call("Less", source, top))
    source = b.call("Where", written, source, zero)
    shape = [batch if a == 0 else size if a == axis else 1 for a in range(node.rank())]
    return b.call("Where", b.reshape(written, shape), _along(b, update, node.shape(1), 0, axis, source), cache)


def _along(b: Body, x: str, shape: tuple[int, ...], batch: int, axis: int, source: str) -> str:
    """Elements of an axis by an index of their own for each element of another axis.

    Args:
        b: takes the calls.
        x: any rank from 2.
        shape: its sizes.
        batch: axis of `source`'s rows.
        axis: the axis from which elements are taken.
        source: (size of `batch`, new size of `axis`) int64, from the front.
    """
    rest = [a for a in range(len(shape)) if a not in (batch, axis)]
    perm = [batch, axis, *rest]
    count, steps = b.spec(source).shape
    moved = b.reshape(b.call("Transpose", x, perm=perm), (shape[batch] * shape[axis], *(shape[a] for a in rest)))
    index = b.call("Add", source, b.constant(np.arange(shape[batch])[:, None] * shape[axis], "int64"))
    taken = b.call("Gather", moved, index, axis=0)
    assert b.spec(taken).shape[:2] == (count, steps)
    return b.call("Transpose", taken, perm=[int(a) for a in np.argsort(perm)])
