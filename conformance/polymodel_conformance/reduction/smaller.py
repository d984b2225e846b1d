"""Smaller problems: fewer calls, plainer attributes, smaller sizes, plainer numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from polymodel.errors import PolymodelError
from polymodel.graph import Graph
from polymodel_conformance.cut import cut, exposed, inner_values
from polymodel_conformance.reduction.problem import Problem

Arrays = Mapping[str, np.ndarray]


# -- calls ------------------------------------------------------------------------------------------------------------------


def alone(problem: Problem) -> Iterator[Problem]:
    """Each call without the others, the last first, fed with what the oracle computed in front of it."""
    yield from (p for i in reversed(range(_count(problem))) if (p := _piece(problem, {i})) is not None)


def pieces(problem: Problem) -> Iterator[Problem]:
    """Rows of neighbouring calls, and everything but such a row: the shortest remains first."""
    count = _count(problem)
    length = count // 2
    while length:
        for start in range(0, count, length):
            row = set(range(start, min(count, start + length)))
            for kept in (row, set(range(count)) - row):
                if 0 < len(kept) < count and (p := _piece(problem, kept)) is not None:
                    yield p
        length //= 2


def outputs(problem: Problem) -> Iterator[Problem]:
    """One output at a time."""
    if len(problem.graph.outputs) > 1:
        for name in problem.graph.outputs:
            yield replace(problem, graph=exposed(problem.graph, (name,)))


def _count(problem: Problem) -> int:
    return len(list(problem.graph.model.graph))


def _piece(problem: Problem, kept: Collection[int]) -> Problem | None:
    if _count(problem) < 2:
        return None
    try:
        graph, feeds = cut(problem.graph, kept, inner_values(problem.graph, problem.feeds))
    except (PolymodelError, NotImplementedError, ValueError, KeyError):
        return None
    return Problem(graph, feeds, problem.gradients)


# -- attributes ---------------------------------------------------------------------------------------------------------------


def attributes(problem: Problem) -> Iterator[Problem]:
    """Without one attribute of one call."""
    for i, node in enumerate(problem.graph.model.graph):
        for name in list(node.attributes):
            graph = problem.graph.copy()
            list(graph.model.graph)[i].attributes.pop(name)
            yield replace(problem, graph=_unknown_sizes(graph))


# -- sizes --------------------------------------------------------------------------------------------------------------------


def sizes(problem: Problem) -> Iterator[Problem]:
    """One axis shorter, of one tensor or of all that have an axis of that size."""
    arrays = _given(problem)
    ends = sorted({(d, n, a) for n, array in arrays.items() for a, d in enumerate(array.shape) if d > 1}, reverse=True)
    for size in dict.fromkeys(d for d, _, _ in ends):
        places = [(n, a) for d, n, a in ends if d == size]
        for new in dict.fromkeys((1, 2, size // 2, size - 1)):
            if new >= size:
                continue
            for chosen in dict.fromkeys((tuple(places), *((p,) for p in places))):
                for start in dict.fromkeys((0, size - new, *(range(min(size, 8)) if new == 1 else ()))):
                    yield _shorter(problem, arrays, chosen, range(start, start + new))


def _given(problem: Problem) -> dict[str, np.ndarray]:
    return {**problem.graph.parameters, **problem.graph.buffers, **{n: np.asarray(a) for n, a in problem.feeds.items()}}


def _shorter(problem: Problem, arrays: Arrays, places: Collection[tuple[str, int]], kept: range) -> Problem:
    new = dict(arrays)
    for name, axis in places:
        new[name] = np.ascontiguousarray(np.take(new[name], kept, axis))
    return _with(problem, new)


def _with(problem: Problem, arrays: Arrays) -> Problem:
    """The same calls on other arrays."""
    graph = problem.graph.copy()
    for value in graph.model.graph.inputs:
        name = str(value.name)
        if name in arrays and value.shape is not None:
            value.shape = ir.Shape(arrays[name].shape)
    old = problem.graph
    graph = replace(
        _unknown_sizes(graph), parameters={n: arrays[n] for n in old.parameters}, buffers={n: arrays[n] for n in old.buffers}
    )
    return replace(problem, graph=graph, feeds={n: arrays[n] for n in problem.feeds})


def _unknown_sizes(graph: Graph) -> Graph:
    """What calls make has the sizes that follow from the inputs' own."""
    for node in graph.model.graph:
        for value in node.outputs:
            if value.shape is not None:
                value.shape = ir.Shape([None] * len(value.shape))
    return replace(graph)


# -- numbers ------------------------------------------------------------------------------------------------------------------


def numbers(problem: Problem) -> Iterator[Problem]:
    """One tensor of plain numbers: zeros, ones, whole numbers, one decimal."""
    arrays = _given(problem)
    for name, array in arrays.items():
        if array.dtype.kind != "f" or not array.size:
            continue
        for plain in (np.zeros_like(array), np.ones_like(array), np.round(array), np.round(array, 1), np.round(array, 2)):
            if not np.array_equal(plain, array, equal_nan=True):
                yield _with(problem, {**arrays, name: plain.astype(array.dtype)})
