"""Elements moved without change. What becomes of an element says where its cotangent goes back to."""

from collections.abc import Callable
from typing import Any

import numpy as np

from polymodel.plan import Node
from polymodel_numpy.rules.table import TABLE, ints


def _moves(name: str, since: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register what an operator does to the places of elements; the same does it to the elements."""

    def register(move: Callable[..., Any]) -> Callable[..., Any]:
        def rule(node: Node, x: Any, *settings: Any) -> Any:
            def pull(g: Any) -> Any:
                places = move(node, np.arange(x.size).reshape(x.shape), *settings)
                return (np.bincount(places.ravel(), g.ravel(), x.size).reshape(x.shape),)

            return move(node, x, *settings), pull

        TABLE.rule(name, since=since)(rule)
        return move

    return register


@_moves("Transpose", 13)
def transpose(node: Node, x: Any) -> Any:
    return x.transpose(node.attr("perm"))


@_moves("Expand", 13)
def expand(node: Node, x: Any, shape: Any) -> Any:
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, ints(shape)))


@_moves("Slice", 13)
def slice_(node: Node, x: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
    along = range(starts.size) if axes is None else ints(axes)
    strides = (1,) * starts.size if steps is None else ints(steps)
    for begin, end, axis, step in zip(ints(starts), ints(ends), along, strides, strict=True):
        x = np.take(x, np.arange(*slice(begin, end, step).indices(x.shape[axis])), axis)
    return x


def _reshaped(x: Any, shape: Any) -> Any:
    return x.reshape(shape), lambda g: (g.reshape(x.shape),)


@TABLE.rule("Reshape", since=13)
def reshape(node: Node, x: Any, shape: Any) -> Any:
    sizes = [x.shape[i] if n == 0 and not node.attr("allowzero") else n for i, n in enumerate(ints(shape))]
    if -1 in sizes and x.size == 0:
        sizes[sizes.index(-1)] = 0
    return _reshaped(x, sizes)


@TABLE.rule("Flatten", since=13)
def flatten(node: Node, x: Any) -> Any:
    axis = node.axis(rank=x.ndim)
    return _reshaped(x, (int(np.prod(x.shape[:axis])), int(np.prod(x.shape[axis:]))))


@TABLE.rule("Squeeze", since=13)
def squeeze(node: Node, x: Any, axes: Any = None) -> Any:
    return _reshaped(x, np.squeeze(x, None if axes is None else ints(axes)).shape)


@TABLE.rule("Unsqueeze", since=13)
def unsqueeze(node: Node, x: Any, axes: Any) -> Any:
    return _reshaped(x, np.expand_dims(x, ints(axes)).shape)


@TABLE.rule("Concat", since=13)
def concat(node: Node, *inputs: Any) -> Any:
    axis = node.axis(rank=inputs[0].ndim)
    ends = np.cumsum([x.shape[axis] for x in inputs])[:-1]
    return np.concatenate(inputs, axis), lambda g: np.split(g, ends, axis)
