"""Making a failing graph small.

1. The row of choices gets shorter and its numbers smaller for as long as the graph that it means still fails: fewer calls,
   fewer axes, smaller sizes, plainer attributes.
2. Each call of what is left is tried alone, fed with what the oracle computed in front of it: if one fails alone, that
   call is the failure.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias, final

import numpy as np
import onnx_ir as ir

from polymodel.builder import Builder
from polymodel.errors import PolymodelError
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor
from polymodel_conformance.cases import all_feeds, plan_of
from polymodel_conformance.oracle import evaluate
from polymodel_conformance.random_graphs.choices import Choices, Spent
from polymodel_conformance.random_graphs.sketch import Sample, freed, unfolded

Fails: TypeAlias = Callable[[Sample], bool]
Build: TypeAlias = Callable[[Choices], Sample | None]


def shrink(start: Sample, build: Build, fails: Fails, seconds: float = 20.0) -> Sample:
    """The smallest failing graph that was found in the time.

    Args:
        start: fails.
        build: the graph of a row of choices.
        fails: whether a graph fails in the same way.
        seconds: when to stop.
    """
    watch = _Watch(seconds)
    best = _fewer(start, build, fails, watch)
    return next((s for s in alone(best) if not watch.over and fails(s)), best)


@final
class _Watch:
    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def over(self) -> bool:
        return time.monotonic() > self._end


def _fewer(best: Sample, build: Build, fails: Fails, watch: _Watch) -> Sample:
    better = True
    while better and not watch.over:
        better = False
        for row in _smaller(best.drawn):
            if watch.over:
                break
            try:
                tried = build(Choices(row))
            except (PolymodelError, Spent, ValueError):
                continue
            if tried is not None and _size(tried) < _size(best) and fails(tried):
                best, better = tried, True
                break
    return best


def _size(sample: Sample) -> tuple[int, int, int, int]:
    elements = sum(a.size for a in (*sample.feeds.values(), *sample.graph.parameters.values(), *sample.constants.values()))
    return len(sample.operators), elements, len(sample.drawn), sum(sample.drawn)


def _smaller(row: Sequence[int]) -> Iterator[list[int]]:
    """Rows with a piece left out, then rows with a smaller number."""
    numbers = list(row)
    length = max(1, len(numbers) // 2)
    while length:
        for at in range(len(numbers) - length, -1, -max(1, length // 2)):
            yield numbers[:at] + numbers[at + length :]
        length //= 2
    for at, number in enumerate(numbers):
        for less in dict.fromkeys((0, number // 2, number - 1)):
            if 0 <= less < number:
                yield [*numbers[:at], less, *numbers[at + 1 :]]


def alone(sample: Sample) -> Iterator[Sample]:
    """Each call of a graph without the others, the last first; none of a graph of one call."""
    if len(sample.operators) < 2:
        return
    graph = unfolded(sample.graph, sample.constants)
    full = all_feeds(graph, {**sample.feeds, **sample.constants})
    names = [str(v.name) for n in graph.model.graph for v in n.outputs]
    values = evaluate(plan_of(graph, names, full), full, record=False).values
    arrays = {n: v.array for n, v in values.items()}
    for node in reversed(list(sample.graph.model.graph)):
        try:
            yield _call(node, sample, {**arrays, **full})
        except (PolymodelError, ValueError, KeyError):
            continue


def _call(node: ir.Node, sample: Sample, values: dict[str, np.ndarray]) -> Sample:
    b = Builder()
    feeds: dict[str, np.ndarray] = {}
    given: list[Tensor | None] = []
    constants: dict[str, np.ndarray] = {}
    for value in node.inputs:
        if value is None:
            given.append(None)
        elif value.const_value is not None:
            made = b.constant(value.const_value.numpy())
            if value.name in sample.constants:
                constants[str(made.value.name)] = value.const_value.numpy()
            given.append(made)
        else:
            assert value.type is not None
            name = f"v{len(feeds)}"
            array = np.asarray(values[str(value.name)], value.type.dtype.numpy())
            feeds[name] = array
            given.append(b.input(name, TensorSpec(array.shape, array.dtype.name)))
    attributes = {a.name: a.value for a in node.attributes.values()}
    results = b.ops(node.op_type, *given, outputs=len(node.outputs), **attributes)
    for i, tensor in enumerate(results):
        b.output(f"y{i}", tensor)
    graph = b.finish()
    free = any(not isinstance(d, int) for s in sample.graph.specs.values() for d in s.shape)
    return Sample(freed(graph) if free else graph, feeds, (), (node.op_type,), sample.gradients, constants)
