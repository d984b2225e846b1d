"""What a random graph is asked, and what should come out: values, and derivatives of a share of the graphs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from polymodel.graph import Graph
from polymodel.plan import Plan
from polymodel_conformance.cases import Outcome, Undecided, all_feeds, expectations, judged, plan_of
from polymodel_conformance.client import Answer
from polymodel_conformance.compare import Expected
from polymodel_conformance.corpus.differentiable import constant_values
from polymodel_conformance.corpus.entry import Entry
from polymodel_conformance.floor import UNIT, forward, gradient, measure
from polymodel_conformance.jobs import Job
from polymodel_conformance.oracle import evaluate
from polymodel_conformance.random_graphs.sketch import Sample, unfolded

RUNS = 4
FAMILY = "random graph"
_LARGEST = 1e9
"""Of any value inside: beyond it casts to integers and products of squares leave the number format."""


@final
@dataclass(frozen=True)
class Question:
    """A request with its answer.

    Attributes:
        job: what a worker is asked.
        expected: by name.
        family: whose limit applies.
    """

    job: Job
    expected: Mapping[str, Expected]
    family: str

    def judge(self, answer: Answer) -> Outcome:
        """Compare."""
        return judged(answer, self.expected, self.family)

    @property
    def limits(self) -> dict[str, float]:
        """Score up to which each tensor passes."""
        nothing = Answer("done", {})
        return {c.name: c.limit for c in self.judge(nothing).comparisons}


def questions(sample: Sample) -> list[Question]:
    """The values of a graph, and its derivatives where they are asked for and exist.

    Raises:
        Undecided: a value stands on a kink, or leaves the number format.
    """
    graph = unfolded(sample.graph, sample.constants)
    full = all_feeds(graph, {**sample.feeds, **sample.constants})
    plan = plan_of(graph, graph.outputs, full)
    unit = _unit(plan)
    inside = evaluate(plan, full, record=False).values
    for value in inside.values():
        if value.array.dtype.kind == "f" and value.array.size and not np.abs(value.array).max() < _LARGEST:
            raise Undecided("a value is too large or not finite")
    found = measure(forward(plan, full), runs=RUNS, unit=unit)
    if found.undecidable:
        raise Undecided("a value stands nearer to a kink than rounding allows")
    specs = graph.specs
    arrays = {f"feed/{n}": a for n, a in sample.feeds.items()}
    job = Job("predict", sample.graph, None, arrays, {"outputs": list(graph.outputs)})
    asked = [Question(job, expectations(found, {n: specs[n].dtype for n in found.values}), FAMILY)]
    if sample.gradients:
        asked += _derivatives(sample, graph, full, unit)
    return asked


def _unit(plan: Plan) -> float:
    """Unit roundoff of the coarsest type that floats have in a graph."""
    return 2.0**-53 if {s.dtype for s in plan.specs.values() if s.dtype.startswith("float")} == {"float64"} else UNIT


def _derivatives(sample: Sample, graph: Graph, full: Mapping[str, np.ndarray], unit: float) -> list[Question]:
    specs = graph.specs
    constant = constant_values(Entry("random/graph", graph, lambda seed: sample.feeds))
    outputs = tuple(o for o in graph.outputs if specs[o].dtype in ("float32", "float64") and o not in constant)
    floats = (*graph.parameters, *(n for n in sample.graph.inputs if specs[n].dtype in ("float32", "float64")))
    wrt = tuple(n for n in floats if n not in constant)
    if not outputs or not wrt:
        return []
    plan = plan_of(graph, outputs, full)
    values = evaluate(plan, full, record=False).values
    rng = np.random.default_rng(77)
    cotangents = {n: rng.standard_normal(values[n].shape).astype(specs[n].dtype) for n in outputs}
    wide = {n: c.astype(np.float64) for n, c in cotangents.items()}
    found = measure(gradient(plan, full, wide, wrt), runs=RUNS, unit=unit)
    if found.undecidable or found.ties or not all((np.abs(v) < _LARGEST).all() for v in found.values.values()):
        return []
    arrays = {f"feed/{n}": a for n, a in sample.feeds.items()}
    arrays.update({f"cotangent/{n}": a for n, a in cotangents.items()})
    job = Job("gradients", sample.graph, None, arrays, {"wrt": list(wrt)})
    return [Question(job, expectations(found, {n: specs[n].dtype for n in wrt}), f"gradient of {FAMILY}")]
