"""From a failing case to the smallest graph and inputs that still fail.

1. Each call alone, the last first, fed with what the oracle computed in front of it: if one fails, it is the failure.
2. Else fewer calls: rows of neighbours are left out, or left alone, for as long as what remains fails (delta debugging).
3. One output, fewer attributes, shorter axes, plainer numbers, until nothing smaller fails.

Everything that is tried is judged as the suite judges: by the oracle, its rounding floor and the limit of the operators. A smaller
problem counts only when it fails in the same way: by its values, or with the same error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from polymodel_conformance.reduction.judge import Failure, Judge
from polymodel_conformance.reduction.problem import Problem
from polymodel_conformance.reduction.smaller import alone, attributes, numbers, outputs, pieces, sizes

Steps: TypeAlias = Callable[[Problem], Iterator[Problem]]


def first_failure(asked: Sequence[Problem], judge: Judge) -> Failure | None:
    """The first problem that fails; None when all pass."""
    return next((f for p in asked if (f := judge(p)) is not None), None)


def reduce(start: Failure, judge: Judge) -> Failure:
    """The smallest failure that was found in the judge's time.

    Args:
        start: what fails.
        judge: asks the worker.
    """
    best, before = _better(start, alone, judge) or start, None
    while best is not before:
        before = best
        for step in (pieces, outputs, attributes, sizes, numbers):
            while (found := _better(best, step, judge)) is not None:
                best = found
    return best


def _better(best: Failure, step: Steps, judge: Judge) -> Failure | None:
    """The first smaller problem of a step that fails likewise."""
    for tried in step(best.problem):
        if judge.over:
            return None
        if _smaller(tried, best.problem) and (found := judge.same(tried, best.sort)) is not None:
            return found
    return None


def _smaller(one: Problem, other: Problem) -> bool:
    def weight(p: Problem) -> tuple[int, ...]:
        written = sum(len(n.attributes) for n in p.graph.model.graph)
        calls, elements, digits = p.size
        return calls, len(p.graph.outputs), written, elements, digits

    return weight(one) < weight(other)
