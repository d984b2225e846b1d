"""A random graph under construction, and what it becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import onnx_ir as ir

from polymodel.builder import Builder
from polymodel.errors import GraphError
from polymodel.graph import Graph
from polymodel.spec import TensorSpec, numpy_dtype
from polymodel.tensor import Tensor
from polymodel_conformance.random_graphs.choices import Choices

SIZES = (2, 1, 3, 4, 5, 7, 9)
_MOST = 1500  # elements of a value


@final
class Unfit(Exception):
    """A call cannot be made with what is there; another one is tried."""


@final
@dataclass(frozen=True)
class Sample:
    """A finished graph with what is fed to it.

    Attributes:
        graph: its inputs have fixed sizes, or are free in every axis.
        feeds: by input name.
        drawn: the numbers that it was built from.
        operators: in the order of the calls.
        gradients: whether its derivatives are asked for too.
        constants: values of the constants among its operands, by name.
    """

    graph: Graph
    feeds: Mapping[str, np.ndarray]
    drawn: Sequence[int]
    operators: tuple[str, ...]
    gradients: bool
    constants: Mapping[str, np.ndarray]


@final
class Sketch:
    """What the rows of the operator table draw on.

    Args:
        choices: where decisions come from.
    """

    def __init__(self, choices: Choices) -> None:
        self.c = choices
        self.b = Builder()
        self.values: list[Tensor] = []
        self.feeds: dict[str, np.ndarray] = {}
        self.constants: dict[str, np.ndarray] = {}
        self.operators: list[str] = []
        self.empties = choices.chance(4)
        self.double = choices.chance(10)
        self.rng = np.random.Generator(np.random.Philox(choices.below(1 << 30)))
        self._count = 0

    # -- sizes ------------------------------------------------------------------------------------------------------

    @property
    def real(self) -> str:
        """The floating-point type of this graph."""
        return "float64" if self.double else "float32"

    def size(self) -> int:
        """Of an axis."""
        if self.empties and self.c.chance(20):
            return 0
        return self.c.of(SIZES)

    def shape(self, rank: int | None = None) -> tuple[int, ...]:
        """Of a value."""
        rank = self.c.of((2, 1, 3, 4, 0)) if rank is None else rank
        return tuple(self.size() for _ in range(rank))

    # -- values -----------------------------------------------------------------------------------------------------

    def numbers(self, shape: Sequence[int], dtype: str) -> np.ndarray:
        """Data: normal numbers, small integers, or both truths."""
        if dtype == "bool":
            return np.asarray(self.rng.random(shape) < 0.5)
        if dtype in ("int64", "int32"):
            return np.asarray(self.rng.integers(-4, 5, shape), numpy_dtype(dtype))
        return np.asarray(self.rng.standard_normal(shape), numpy_dtype(dtype))

    def leaf(self, shape: Sequence[int], dtype: str | None = None, array: np.ndarray | None = None) -> Tensor:
        """A new input, parameter or constant."""
        data = self.numbers(shape, dtype or self.real) if array is None else array
        if data.size > _MOST:
            raise Unfit
        kind = self.c.below(4)
        self._count += 1
        name = f"v{self._count}"
        if kind == 1 and data.dtype.kind == "f" and self.feeds:
            return self.b.parameter(name, data)
        if kind == 2 and self.feeds and data.size:
            made = self.b.constant(data)
            self.constants[str(made.value.name)] = data
            return made
        self.feeds[name] = data
        return self.b.input(name, TensorSpec(data.shape, data.dtype.name))

    def take(
        self, rank: int | Sequence[int] | None = None, dtype: str | Sequence[str] | None = None,
        fits: Callable[[Sequence[int]], bool] = lambda s: True, shape: Sequence[int] | None = None,
    ) -> Tensor:
        """A value that is there and fits, preferably a late one; else a new leaf.

        Args:
            rank: number of axes, or several that are possible; any when None.
            dtype: element type, or several; the floating-point type of the graph when None.
            fits: further condition on the shape.
            shape: of the leaf that is made when nothing fits; drawn when None.
        """
        types = (self.real,) if dtype is None else (dtype,) if isinstance(dtype, str) else tuple(dtype)
        ranks = (rank,) if isinstance(rank, int) else rank
        there = [
            t for t in reversed(self.values)
            if t.dtype in types and (ranks is None or t.rank in ranks) and fits(self.sizes(t))
        ]
        if there and not self.c.chance(15):
            return self.c.of(there[:4])
        for _ in range(4):
            tried = shape if shape is not None else self.shape(self.c.of(tuple(ranks)) if ranks else None)
            if fits(tried):
                return self.leaf(tried, self.c.of(types))
        raise Unfit

    @staticmethod
    def sizes(tensor: Tensor) -> tuple[int, ...]:
        """All sizes of a value, which are known while the graph is built."""
        found = tuple(d for d in tensor.shape if isinstance(d, int))
        if len(found) != tensor.rank:
            raise Unfit
        return found

    def indices(self, shape: Sequence[int], limit: int, negative: bool = True) -> Tensor:
        """Integers that point into an axis."""
        if limit == 0 and int(np.prod(shape)):
            raise Unfit
        low = -limit if negative and self.c.chance(50) else 0
        array = self.rng.integers(low, max(limit, low + 1), shape)
        return self.leaf(shape, array=np.asarray(array, np.int64))

    def axis(self, tensor: Tensor) -> int:
        """An axis of a value, counted from either end."""
        if tensor.rank == 0:
            raise Unfit
        axis = self.c.below(tensor.rank)
        return axis - tensor.rank if self.c.chance(40) else axis

    def setting(self, values: Any) -> np.ndarray:
        """Axes, sizes or counts: constants of the graph."""
        return np.asarray(values, np.int64)

    # -- calls ------------------------------------------------------------------------------------------------------

    def op(self, op_type: str, *inputs: Any, **attributes: Any) -> Tensor:
        """Make a call with one output and keep what it makes."""
        return self.ops(op_type, *inputs, outputs=1, **attributes)[0]

    def ops(self, op_type: str, *inputs: Any, outputs: int, **attributes: Any) -> tuple[Tensor, ...]:
        """Make a call and keep what it makes."""
        made = self.b.ops(op_type, *inputs, outputs=outputs, **attributes)
        if any(int(np.prod(self.sizes(t), dtype=np.int64)) > _MOST for t in made):
            raise Unfit
        self.operators.append(op_type)
        self.values.extend(made)
        return made

    # -- the end ----------------------------------------------------------------------------------------------------

    def finish(self, free: bool, gradients: bool) -> Sample:
        """The graph; what no call reads is its result."""
        read = {v for n in self.b.graph for v in n.inputs}
        ends = [t for t in self.values if t.value not in read] or self.values[-1:]
        for i, tensor in enumerate(ends[-4:]):
            self.b.output(f"y{i}", tensor)
        graph = pruned(self.b.finish())
        feeds = {n: self.feeds[n] for n in graph.inputs}
        left = {str(v.name) for v in graph.model.graph.initializers.values()}
        constants = {n: a for n, a in self.constants.items() if n in left}
        graph = freed(graph) if free else graph
        return Sample(graph, feeds, tuple(self.c.drawn), tuple(n.op_type for n in graph.calls), gradients, constants)


def unfolded(graph: Graph, constants: Mapping[str, np.ndarray]) -> Graph:
    """The graph with some of its constants as inputs, so that nothing made of them is computed ahead."""
    graph = graph.copy()
    body = graph.model.graph
    for name, array in constants.items():
        value = body.initializers[name]
        del body.initializers[name]
        value.const_value = None
        body.inputs.append(value)
        value.shape = ir.Shape(array.shape)
    return replace(graph, inputs=(*graph.inputs, *constants))


def pruned(graph: Graph) -> Graph:
    """The graph without calls and inputs that no output needs."""
    body = graph.model.graph
    needed = set(body.outputs)
    for node in reversed(list(body)):
        if needed.intersection(node.outputs):
            needed.update(v for v in node.inputs if v is not None)
        else:
            body.remove(node)
    for value in list(body.inputs):
        if value not in needed:
            body.inputs.remove(value)
    for name, value in list(body.initializers.items()):
        if value not in needed:
            del body.initializers[name]
    left = {str(v.name) for v in body.inputs}
    return replace(
        graph, inputs=tuple(n for n in graph.inputs if n in left),
        parameters={n: a for n, a in graph.parameters.items() if n in left},
    )


def freed(graph: Graph) -> Graph:
    """The graph with a name for each size of each input, and no size known inside."""
    fed = set(graph.inputs)
    for value in graph.model.graph.inputs:
        if value.name in fed and value.shape is not None:
            value.shape = ir.Shape([f"{value.name}_{i}" for i in range(len(value.shape))])
    for node in graph.model.graph:
        for value in node.outputs:
            if value.shape is not None:
                value.shape = ir.Shape([None] * len(value.shape))
    return replace(graph)


def sample(choices: Choices, table: Sequence[tuple[int, Callable[[Sketch], object]]]) -> Sample | None:
    """A graph of one to eight calls; None when the choices mean none.

    Args:
        choices: where decisions come from.
        table: rows that make calls, each with its weight.
    """
    sketch = Sketch(choices)
    free, gradients = choices.chance(35), choices.chance(40)
    weights = [w for w, _ in table]
    ends = np.cumsum(weights)
    for _ in range(1 + choices.below(8)):
        for _ in range(3):
            row = table[int(np.searchsorted(ends, choices.below(int(ends[-1])), "right"))][1]
            try:
                row(sketch)
                break
            except (Unfit, GraphError):
                continue
    if not sketch.values:
        return None
    return sketch.finish(free, gradients)
