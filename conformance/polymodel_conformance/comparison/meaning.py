"""What a graph means for given inputs, with the rounding floor of every value; and inputs on which that can be decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from polymodel.artifact.floor import ROUNDOFF
from polymodel.artifact.inputs import try_inputs
from polymodel.errors import ArtifactError
from polymodel.graph import Graph
from polymodel.plan import Plan
from polymodel_conformance.cases import all_feeds, expectations, plan_of
from polymodel_conformance.cut import names_inside
from polymodel_conformance.tolerance.compare import Expected
from polymodel_conformance.tolerance.floor import UNIT, forward, measure

Arrays = Mapping[str, np.ndarray]
FAMILY = "artifact"
_TRIES = 4
_RUNS = 4


@final
@dataclass(frozen=True)
class Meaning:
    """What a graph's values should be.

    Attributes:
        outputs: of the graph, by name.
        inner: of every call, where they were asked for.
        undecidable: number of elements nearer to a kink than rounding allows; the floor holds what both sides can do.
    """

    outputs: Mapping[str, Expected]
    inner: Mapping[str, Expected]
    undecidable: int


def meaning_of(graph: Graph, feeds: Arrays, *, inside: bool = False) -> Meaning:
    """Evaluate a graph in float64 and measure its floor.

    Raises:
        ArtifactError: the oracle has no rule for an operator of it.
    """
    names = tuple(dict.fromkeys((*names_inside(graph), *graph.outputs))) if inside else graph.outputs
    full = all_feeds(graph, feeds)
    try:
        plan = plan_of(graph, names, full)
        found = measure(forward(plan, full), runs=_RUNS, unit=_unit(plan))
    except NotImplementedError as error:
        raise ArtifactError(f"the float64 oracle cannot judge this graph: {error}") from None
    expected = expectations(found, {n: plan.specs[n].dtype for n in found.values})
    return Meaning({n: expected[n] for n in graph.outputs}, expected if inside else {}, found.undecidable)


def decidable_inputs(graph: Graph, seed: int = 0, size: int = 2) -> tuple[dict[str, np.ndarray], Meaning]:
    """Inputs as the verification of exports makes them: of a few draws, that with the fewest values on a kink."""
    best: tuple[dict[str, np.ndarray], Meaning] | None = None
    for attempt in range(_TRIES):
        feeds = try_inputs(graph, size, seed * _TRIES + attempt)
        found = meaning_of(graph, feeds)
        if best is None or found.undecidable < best[1].undecidable:
            best = feeds, found
        if not found.undecidable:
            break
    assert best is not None
    return best


def _unit(plan: Plan) -> float:
    """Unit roundoff of the coarsest floating-point type inside."""
    return max((ROUNDOFF[s.dtype] for s in plan.specs.values() if s.dtype in ROUNDOFF), default=UNIT)
