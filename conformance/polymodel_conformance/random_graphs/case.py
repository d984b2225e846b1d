"""What a random graph is asked, and what should come out: values, and derivatives of a share of the graphs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import numpy as np

from polymodel.graph import Graph
from polymodel.plan import Plan
from polymodel_conformance.cases import Outcome, Undecided, all_feeds, expectations, judged, plan_of
from polymodel_conformance.corpus.differentiable import constant_values
from polymodel_conformance.corpus.entry import Entry
from polymodel_conformance.oracle import evaluate
from polymodel_conformance.oracle.tape import Array, Kinks, Noise
from polymodel_conformance.random_graphs.sketch import Sample, unfolded
from polymodel_conformance.tolerance.compare import Expected
from polymodel_conformance.tolerance.floor import UNIT, Compute, Look, forward, gradient, look, measure
from polymodel_conformance.workers.client import Answer
from polymodel_conformance.workers.jobs import Job

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
        seen: what the oracle computed.
        compute: does so again, with rounding errors.
        dtypes: element type of each result.
        family: whose limit applies.
        unit: unit roundoff.
    """

    job: Job
    seen: Look
    compute: Compute
    dtypes: Mapping[str, str]
    family: str
    unit: float

    def judge(self, answer: Answer) -> Outcome:
        """Compare. What passes with the rounding of the result alone passes with any floor: that is measured for the rest."""
        first = judged(answer, self._bare, self.family)
        return judged(answer, self.expected, self.family) if answer.status == "done" and first.verdict.bad else first

    @cached_property
    def _bare(self) -> Mapping[str, Expected]:
        floats = {n for n, v in self.seen.values.items() if v.dtype.kind == "f"}
        return {n: Expected(v, self.dtypes[n], "rho" if n in floats else "exact") for n, v in self.seen.values.items()}

    @cached_property
    def expected(self) -> Mapping[str, Expected]:
        """What should come out, by name, with its rounding floor."""
        return expectations(measure(self.compute, runs=RUNS, unit=self.unit, seen=self.seen), self.dtypes)

    @property
    def limits(self) -> dict[str, float]:
        """Score up to which each tensor passes."""
        return {c.name: c.limit for c in judged(Answer("done", {}), self._bare, self.family).comparisons}


def questions(sample: Sample) -> list[Question]:
    """The values of a graph, and its derivatives where they are asked for and exist.

    Raises:
        Undecided: a value stands on a kink, or leaves the number format.
    """
    graph = unfolded(sample.graph, sample.constants)
    full = all_feeds(graph, {**sample.feeds, **sample.constants})
    plan = plan_of(graph, graph.outputs, full)
    unit = _unit(plan)
    inside = look(_everything(plan, full), unit=unit)
    for array in inside.values.values():
        if array.dtype.kind == "f" and array.size and not np.abs(array).max() < _LARGEST:
            raise Undecided("a value is too large or not finite")
    if inside.undecidable:
        raise Undecided("a value stands nearer to a kink than rounding allows")
    specs = graph.specs
    arrays = {f"feed/{n}": a for n, a in sample.feeds.items()}
    job = Job("predict", sample.graph, None, arrays, {"outputs": list(graph.outputs)})
    seen = replace(inside, values={n: inside.values[n] for n in plan.outputs})
    asked = [Question(job, seen, forward(plan, full), {n: specs[n].dtype for n in plan.outputs}, FAMILY, unit)]
    if sample.gradients:
        asked += _derivatives(sample, graph, full, seen, unit)
    return asked


def _everything(plan: Plan, feeds: Mapping[str, Array]) -> Compute:
    """The computation of all values of a plan."""

    def compute(noise: Noise | None, kinks: Kinks) -> Mapping[str, Array]:
        return {n: v.array for n, v in evaluate(plan, feeds, noise=noise, kinks=kinks, record=False).values.items()}

    return compute


def _unit(plan: Plan) -> float:
    """Unit roundoff of the coarsest type that floats have in a graph."""
    return 2.0**-53 if {s.dtype for s in plan.specs.values() if s.dtype.startswith("float")} == {"float64"} else UNIT


def _derivatives(sample: Sample, graph: Graph, full: Mapping[str, np.ndarray], values: Look, unit: float) -> list[Question]:
    specs = graph.specs
    constant = constant_values(Entry("random/graph", graph, lambda seed: sample.feeds))
    outputs = tuple(o for o in graph.outputs if specs[o].dtype in ("float32", "float64") and o not in constant)
    floats = (*graph.parameters, *(n for n in sample.graph.inputs if specs[n].dtype in ("float32", "float64")))
    wrt = tuple(n for n in floats if n not in constant)
    if not outputs or not wrt:
        return []
    plan = plan_of(graph, outputs, full)
    rng = np.random.default_rng(77)
    cotangents = {n: rng.standard_normal(values.values[n].shape).astype(specs[n].dtype) for n in outputs}
    wide = {n: c.astype(np.float64) for n, c in cotangents.items()}
    compute = gradient(plan, full, wide, wrt)
    seen = look(compute, unit=unit)
    if seen.undecidable or seen.ties or not all((np.abs(v) < _LARGEST).all() for v in seen.values.values()):
        return []
    arrays = {f"feed/{n}": a for n, a in sample.feeds.items()}
    arrays.update({f"cotangent/{n}": a for n, a in cotangents.items()})
    job = Job("gradients", sample.graph, None, arrays, {"wrt": list(wrt)})
    return [Question(job, seen, compute, {n: specs[n].dtype for n in wrt}, f"gradient of {FAMILY}", unit)]
