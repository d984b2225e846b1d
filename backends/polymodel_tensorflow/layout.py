"""Which order of axes a value is held in while a graph is being lowered.

ONNX puts channels second: (N, C, H, W), weights (out, in, H, W). TensorFlow's CPU kernels want channels last, weights
(H, W, in, out). A layout is a tuple of ONNX axes in the order in which they are held; None is ONNX order.

1. Convolution and pooling take and give channels last; convolution weights are taken as (..., in, out).
2. BatchNormalization, Dropout, Concat along channels and every elementwise operator keep channels last when one of
   their inputs is held so; their other inputs are brought to the same order, which costs nothing for those of rank 0
   and little for those that are broadcast.
3. Every other operator gets ONNX order. A value is transposed at most once for each order in which somebody wants it,
   and not at all when only axes of size 1 change places (the reshape is free).
4. A parameter that only convolutions use, and only as their weight, is stored as (..., in, out) for the life of the
   program: `stored_layouts`. Who asks for its sizes does not use it; exporters write that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias, final

import numpy as np

from polymodel.graph import Graph
from polymodel.passes.uses import used_only_as
from polymodel.plan import Node
from polymodel_tensorflow.compat import tf

Layout: TypeAlias = tuple[int, ...] | None

_ELEMENTWISE = frozenset(
    [
        "Abs",
        "Acos",
        "Acosh",
        "Add",
        "And",
        "Asin",
        "Asinh",
        "Atan",
        "Atanh",
        "Cast",
        "Ceil",
        "Celu",
        "Clip",
        "Cos",
        "Cosh",
        "Div",
        "Elu",
        "Equal",
        "Erf",
        "Exp",
        "Floor",
        "Gelu",
        "Greater",
        "GreaterOrEqual",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "IsInf",
        "IsNaN",
        "LeakyRelu",
        "Less",
        "LessOrEqual",
        "Log",
        "Max",
        "Mean",
        "Min",
        "Mish",
        "Mod",
        "Mul",
        "Neg",
        "Not",
        "Or",
        "Pow",
        "PRelu",
        "Reciprocal",
        "Relu",
        "Round",
        "Selu",
        "Shrink",
        "Sigmoid",
        "Sign",
        "Sin",
        "Sinh",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Sub",
        "Sum",
        "Swish",
        "Tan",
        "Tanh",
        "ThresholdedRelu",
        "Where",
        "Xor",
    ]
)
_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
_KEEPING = frozenset({"Dropout", "CastLike"})
_FIRST_ONLY = _KEEPING | frozenset(
    {"BatchNormalization", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool"}
)


def channels_last(rank: int) -> Layout:
    """(N, ..., C) of a value (N, C, ...)."""
    return (0, *range(2, rank), 1) if rank > 2 else None


def weights_last(rank: int) -> Layout:
    """(..., in, out) of a weight (out, in, ...)."""
    return (*range(2, rank), 1, 0)


def inverse(layout: Layout) -> Layout:
    """The permutation that brings a held array back to ONNX order."""
    return None if layout is None else tuple(int(i) for i in np.argsort(layout))


def to_layout(array: np.ndarray, layout: Layout) -> np.ndarray:
    """A NumPy array in ONNX order, as it is held."""
    return array if layout is None else np.ascontiguousarray(array.transpose(layout))


def from_layout(array: np.ndarray, layout: Layout) -> np.ndarray:
    """A held NumPy array in ONNX order."""
    back = inverse(layout)
    return array if back is None else np.ascontiguousarray(array.transpose(back))


def stored_layouts(graph: Graph) -> dict[str, Layout]:
    """The order of axes in which each parameter is stored."""
    weights = used_only_as(graph, lambda node, i: node.domain == "" and node.op_type in _CONVOLUTIONS and i == 1)
    return {n: weights_last(a.ndim) if n in weights else None for n, a in graph.parameters.items()}


@final
class Values:
    """The native values of a graph being lowered, each in the orders of axes in which it was made or wanted."""

    def __init__(self, constants: Mapping[str, np.ndarray]) -> None:
        self._constants = constants
        self._held: dict[str, dict[Layout, Any]] = {}

    def put(self, name: str, value: Any, layout: Layout = None) -> None:
        """Add a value that is held in some order."""
        self._held[name] = {layout: value}

    def held(self, name: str) -> Layout:
        """The order in which a value was made."""
        return next(iter(self._held[name])) if name in self._held else None

    def get(self, name: str, layout: Layout = None) -> Any:
        """A value in some order."""
        if name not in self._held:
            return self._constant(name, layout)
        orders = self._held[name]
        if layout not in orders:
            source, value = next(iter(orders.items()))
            orders[layout] = _reorder(value, source, layout)
        return orders[layout]

    def broadcast(self, name: str, rank: int, layout: Layout) -> Any:
        """A value that takes part in an elementwise operator of some rank whose result is held in some order."""
        value = self._constants[name] if name not in self._held else self._held[name]
        own = value.ndim if isinstance(value, np.ndarray) else len(next(iter(value.values())).shape)
        if own == 0 or layout is None:
            return self.get(name)
        if own == rank:
            return self.get(name, layout)
        flat = self.get(name)
        missing = rank - own
        kept = [a - missing for a in layout if a >= missing]
        if kept != sorted(kept):
            flat = tf.transpose(flat, kept)
        for i, axis in enumerate(layout):
            if axis < missing:
                flat = tf.expand_dims(flat, i)
        return flat

    def _constant(self, name: str, layout: Layout) -> Any:
        return tf.constant(to_layout(self._constants[name], layout))


def _reorder(value: Any, source: Layout, target: Layout) -> Any:
    rank = len(value.shape)
    have = source or tuple(range(rank))
    want = target or tuple(range(rank))
    perm = [have.index(axis) for axis in want]
    static = value.shape.as_list()
    moved = [p for p in perm if static[p] != 1]
    if moved == sorted(moved) and static.count(None) <= 1:
        return tf.reshape(value, [-1 if static[p] is None else static[p] for p in perm])
    return tf.transpose(value, perm)


Held: TypeAlias = Callable[[str], Layout]


def choose(node: Node, held: Held) -> tuple[Node, Layout, Callable[[Values], Sequence[Any]]]:
    """How a call takes its inputs.

    Returns:
        The call as the rule is to see it (an axis attribute counts the axes as they are held), the order of axes of
        its first output (the others are in ONNX order, except Dropout's mask and MaxPool's indices, which have that
        of the first), and what fetches its inputs.
    """
    names = node.input_names
    if node.domain == "" and node.op_type in _CONVOLUTIONS:
        last = channels_last(node.rank(0))
        orders = (last, weights_last(node.rank(1)), None)
        return node, last, lambda v: [v.get(n, o) if n else None for n, o in zip(names, orders, strict=False)]
    if node.domain == "" and node.op_type in _FIRST_ONLY:
        layout = held(names[0]) if node.op_type in _KEEPING else channels_last(node.rank(0))
        return node, layout, lambda v: [v.get(names[0], layout), *(v.get(n) if n else None for n in names[1:])]
    if node.domain == "" and (node.op_type in _ELEMENTWISE or _joins_channels(node)):
        layout, rank = _common(node, held), node.outputs[0].rank
        if node.op_type == "Concat" and layout is not None:
            node = replace(node, attributes={**node.attributes, "axis": rank - 1})
        return node, layout, lambda v: [v.broadcast(n, rank, layout) if n else None for n in names]
    return node, None, lambda v: [v.get(n) if n else None for n in names]


def _joins_channels(node: Node) -> bool:
    return node.op_type == "Concat" and node.rank(0) > 2 and node.axis() == 1


def _common(node: Node, held: Held) -> Layout:
    """Channels last when an input of full rank is held so, and (for Concat) all of them are."""
    rank = node.outputs[0].rank
    full = [n for n, s in zip(node.input_names, node.inputs, strict=True) if s is not None and s.rank == rank]
    last = channels_last(rank)
    found = [held(n) == last for n in full]
    if last is None or not found:
        return None
    wanted = all(found) if node.op_type == "Concat" else any(found)
    return last if wanted else None
