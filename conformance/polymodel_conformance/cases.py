"""What a case is: something a backend is asked to do, what should come of it, and how near is near enough."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, final

import numpy as np

from polymodel.errors import NeedsHost, NeedsStaticShape, ShapeError
from polymodel.graph import Graph
from polymodel.passes.expand_functions import expand_functions
from polymodel.passes.specialize import specialize
from polymodel.plan import Plan
from polymodel.spec import bind_dims
from polymodel_conformance import cache
from polymodel_conformance.oracle import evaluate
from polymodel_conformance.oracle.table import ORACLE
from polymodel_conformance.tolerance.calibration import limit
from polymodel_conformance.tolerance.compare import Expected, compare
from polymodel_conformance.tolerance.families import RULES, family_of
from polymodel_conformance.tolerance.floor import UNITS, Compute, Measured, forward, gradient, linear_spread, measure, unit_of
from polymodel_conformance.tolerance.verdict import Comparison, Verdict, worst
from polymodel_conformance.workers.client import HERE, Answer, Place
from polymodel_conformance.workers.jobs import Job, graph_key

Arrays = Mapping[str, np.ndarray]
Draw = Callable[[int], Arrays]


class Call(Protocol):
    """Asks a worker: that of the backend being judged or another one by name, in its usual process or in another."""

    def __call__(self, job: Job, backend: str | None = None, place: Place = HERE) -> Answer: ...


@final
@dataclass(frozen=True)
class Outcome:
    """What came of one case on one backend.

    Attributes:
        verdict: the worst of the comparisons.
        comparisons: tensor by tensor.
        message: why there is none, or the error.
        undecidable: elements nearer to a kink than rounding allows, for the report.
    """

    verdict: Verdict
    comparisons: Sequence[Comparison] = ()
    message: str = ""
    undecidable: int = 0

    @property
    def worst(self) -> Comparison | None:
        """The comparison furthest beyond, or nearest to, its limit."""
        return max(self.comparisons, key=_excess, default=None)


def _excess(c: Comparison) -> float:
    return c.score / c.limit if c.limit else c.score


@final
@dataclass(frozen=True)
class Undecided(Exception):
    """A case that cannot be judged: its oracle is not confirmed, or it stands on a kink."""

    reason: str


class Case(ABC):
    """One entry of the suite.

    Attributes:
        id: names it, "LEVEL/GROUP/NAME".
        level: 0 to 12.
        family: whose limit applies.
        needs: operators that a backend must claim for the case to be asked of it.
        dtypes: element types likewise.
        operators: names of those that it is about.
        cuda: whether it needs a CUDA device; it is not run where there is none.
        tf32: whether it needs a backend that can be told to use TF32.
    """

    id: str
    level: int
    family: str
    needs: frozenset[tuple[str, str]] = frozenset()
    dtypes: frozenset[str] = frozenset()
    operators: frozenset[str] = frozenset()
    cuda: bool = False
    tf32: bool = False
    _expected: dict[str, Expected]

    @property
    def expected(self) -> Mapping[str, Expected]:
        """What should come out, once it is prepared; nothing for a case that finds it while it asks."""
        return getattr(self, "_expected", {})

    @abstractmethod
    def prepare(self) -> None:
        """Compute what should come out; called once, before the first judge.

        Raises:
            Undecided: nothing can be said.
        """

    @abstractmethod
    def judge(self, call: Call) -> Outcome:
        """Ask a backend and compare."""

    def release(self) -> None:
        """Drop what prepare computed."""
        return


@final
@dataclass(frozen=True)
class Unclaimed(Exception):
    """A case that needs what a partial backend lacks."""

    reason: str


def ask(case: Case, call: Call) -> Outcome:
    """Judge a prepared case. What a partial backend refuses by name is not claimed, whatever else the case would ask."""

    def claimed(job: Job, backend: str | None = None, place: Place = HERE) -> Answer:
        answer = call(job, backend, place)
        if answer.status == "unclaimed":
            raise Unclaimed(answer.message)
        return answer

    try:
        return case.judge(claimed)
    except Unclaimed as error:
        return Outcome(Verdict.UNCLAIMED, (), f"the backend does not claim it: {error.reason}")


def judged(answer: Answer, expected: Mapping[str, Expected], family: str, undecidable: int = 0) -> Outcome:
    """Compare the arrays of an answer."""
    if answer.status != "done":
        verdict = Verdict.CRASH if answer.status == "crash" else Verdict.ERROR
        return Outcome(verdict, (), f"{answer.error}: {answer.message}")
    found = []
    for name, e in expected.items():
        own = f"{family}/{e.dtype}" if e.dtype in ("float64", "float16", "bfloat16") else family
        found.append(replace(compare(name, answer.arrays.get(name), e, limit(own)), family=own))
    return Outcome(worst([c.verdict for c in found]), found, _first_bad(found), undecidable)


def _first_bad(found: Sequence[Comparison]) -> str:
    bad = [c for c in found if c.verdict.bad]
    return f"{bad[0].name}: {bad[0].detail}" if bad else ""


# -- plans and floors -----------------------------------------------------------------------------------------------------


def plan_of(graph: Graph, outputs: Sequence[str], feeds: Arrays) -> Plan:
    """The plan of a graph at the shapes of the feeds; settings fed from outside are bound where shapes depend on them."""
    specs = graph.specs
    given = {n: a for n, a in feeds.items() if n in specs}
    dims = bind_dims({n: specs[n] for n in given}, {n: a.shape for n, a in given.items()})
    settings = {n: a for n, a in given.items() if n in graph.inputs and a.dtype.kind in "iub" and a.ndim < 2}
    try:
        plan = specialize(graph, outputs, dims)
        for node in plan.nodes:
            for i in range(len(node.outputs)):
                node.out_shape(i)
    except (ShapeError, NeedsHost, NeedsStaticShape):
        plan = specialize(graph, outputs, dims, settings)
    return expand_functions(plan, ORACLE, bodies=False)


def all_feeds(graph: Graph, feeds: Arrays, *, step: int = 0, seed: int = 0) -> dict[str, np.ndarray]:
    """Everything that a plan reads: user inputs, initial parameters and buffers, and the masks of a step."""
    complete = {**graph.parameters, **graph.buffers, **feeds}
    specs = graph.specs
    dims = bind_dims({n: specs[n] for n in feeds}, {n: a.shape for n, a in feeds.items()})
    for name, stream in graph.streams.items():
        shape = [int(d) for d in stream.spec.bind(dims).shape if isinstance(d, int)]
        complete[name] = stream.draw(seed, step, shape)
    return complete


def measured(compute: Compute, key: cache.Key, *, runs: int, unit: float, apart: bool = False) -> Measured:
    """`measure`, kept on disk."""
    kept = cache.read(key.add(str(runs), str(unit), *(("apart",) if apart else ())))
    if kept is not None:
        group = {p: {n.removeprefix(p): a for n, a in kept.items() if n.startswith(p)} for p in ("v/", "s/", "d/")}
        doubt = {n: float(a) for n, a in group["d/"].items()}
        return Measured(group["v/"], group["s/"], doubt, int(kept["undecidable"]), int(kept["ties"]))
    found = measure(compute, runs=runs, unit=unit, apart=apart)
    cache.write(
        key,
        {
            **{f"v/{n}": a for n, a in found.values.items()},
            **{f"s/{n}": a for n, a in found.spread.items()},
            **{f"d/{n}": np.asarray(d, np.float64) for n, d in found.doubt.items()},
            "undecidable": np.asarray(found.undecidable, np.int64),
            "ties": np.asarray(found.ties, np.int64),
        },
    )
    return found


def expectations(found: Measured, dtypes: Mapping[str, str], rule: str = "rho") -> dict[str, Expected]:
    """What should come out, by name."""
    return {
        n: Expected(v, dtypes[n], rule if n in found.spread else "exact", found.spread.get(n), found.doubt.get(n, 1.0))
        for n, v in found.values.items()
    }


# -- a graph's values or derivatives ---------------------------------------------------------------------------------------


@final
@dataclass
class GraphCase(Case):
    """Outputs of a graph, or their derivatives.

    Attributes:
        graph: what is computed.
        draw: inputs by name, for a seed; tried again while an element stands on a kink.
        wrt: names to differentiate by; None asks for the outputs.
        outputs: values to ask for; the graph's outputs when None.
        rule: how values are compared; by the operator when None.
        official: outputs that the standard's own test expects, to confirm the oracle.
        tries: how many seeds to draw.
        seed: of the case; its first draw has the seed `seed * 1000`.
        kinks: judge elements near a kink too: what both sides can do is in the floor.
        unit: unit roundoff; that of the element types of inputs and outputs when None.
    """

    id: str
    level: int
    graph: Graph
    draw: Draw
    wrt: tuple[str, ...] | None = None
    outputs: tuple[str, ...] | None = None
    rule: str | None = None
    family: str = ""
    official: Arrays | None = None
    tries: int = 8
    runs: int = 8
    claimed: bool = True
    seed: int = 0
    kinks: bool = False
    unit: float | None = None
    _expected: dict[str, Expected] = field(default_factory=dict)
    _job: Job | None = None
    _undecidable: int = 0

    def __post_init__(self) -> None:
        nodes = list(self.graph.model.graph)
        plain = [n.op_type for n in nodes if n.op_type not in ("Constant", "Shape", "Size")]
        self.operators = frozenset(plain)
        if self.claimed:
            self.needs = frozenset((n.domain, n.op_type) for n in nodes if n.op_type in plain)
        else:
            self.needs = frozenset()
        specs = self.graph.specs
        self.dtypes = frozenset(s.dtype for s in specs.values())
        single = family_of(plain)
        if not self.family:
            self.family = single if self.wrt is None else f"gradient of {single}"
        if self.rule is None:
            exact = len(plain) == 1 and self.wrt is None
            self.rule = RULES.get(single, "rho") if exact else "rho"

    @property
    def job(self) -> Job:
        """What is asked of a backend, once the case is prepared."""
        assert self._job is not None
        return self._job

    def prepare(self) -> None:
        outputs = self.outputs or self.graph.outputs
        reason = ""
        for attempt in range(1000 * self.seed, 1000 * self.seed + self.tries):
            feeds = {n: np.asarray(a) for n, a in self.draw(attempt).items()}
            feeds = {n: a for n, a in feeds.items() if n in self.graph.inputs}
            full = all_feeds(self.graph, feeds)
            plan = plan_of(self.graph, outputs, full)
            try:
                found, cotangents = self._measure(plan, full, outputs, attempt)
            except NotImplementedError as error:
                raise Undecided(str(error)) from None
            reason = self._problem(found)
            if not reason:
                self._accept(found, plan, feeds, cotangents, outputs)
                return
        raise Undecided(reason)

    def _measure(
        self, plan: Plan, full: Arrays, outputs: Sequence[str], attempt: int
    ) -> tuple[Measured, dict[str, np.ndarray]]:
        unit = self.unit or unit_of(self.dtypes)
        key = cache.Key("graph", graph_key(self.graph), *outputs, "wrt", *(self.wrt or ()), self.rule or "")
        key.arrays({n: a for n, a in full.items() if n in plan.inputs or n in self.graph.inputs})
        if self.wrt is None:
            found = measured(forward(plan, full), key, runs=self.runs, unit=unit)
            spread = linear_spread(plan, full, unit) if self.rule == "rho" else None
            if spread is not None:
                found = replace(found, spread=spread, doubt=dict.fromkeys(spread, 1.0))
            return found, {}
        cotangents = _cotangents(plan, full, outputs, attempt)
        key.arrays(cotangents)
        wide = {n: c.astype(np.float64) for n, c in cotangents.items()}
        return measured(gradient(plan, full, wide, self.wrt), key, runs=self.runs, unit=unit), cotangents

    def _problem(self, found: Measured) -> str:
        if found.undecidable and not self.kinks and (self.wrt is not None or self.rule != "exact"):
            return f"{found.undecidable} elements stand nearer to a kink than rounding allows"
        if found.ties and self.wrt is not None and self.claimed:
            return f"{found.ties} elements stand on a kink, where the derivative is a convention"
        if self.wrt is None and self.official is not None:
            return _confirmed(found.values, self.official)
        if self.wrt is not None and not all(np.isfinite(v).all() for v in found.values.values()):
            return "the derivative is not finite"
        return ""

    def _accept(
        self, found: Measured, plan: Plan, feeds: Arrays, cotangents: Arrays, outputs: Sequence[str]
    ) -> None:
        specs = {**plan.specs, **self.graph.specs}
        dtypes = {n: specs[n].dtype for n in found.values}
        self._expected = expectations(found, dtypes, self.rule or "rho")
        self._undecidable = found.undecidable
        arrays = {f"feed/{n}": a for n, a in feeds.items()}
        if self.wrt is None:
            self._job = Job("predict", self.graph, None, arrays, {"outputs": list(outputs)})
        else:
            arrays.update({f"cotangent/{n}": a for n, a in cotangents.items()})
            self._job = Job("gradients", self.graph, None, arrays, {"wrt": list(self.wrt)})

    @property
    def question(self) -> Job:
        """The request, once it is prepared."""
        assert self._job is not None
        return self._job

    def judge(self, call: Call) -> Outcome:
        return judged(call(self.question), self._expected, self.family, self._undecidable)

    def release(self) -> None:
        self._expected, self._job = {}, None


def _cotangents(plan: Plan, full: Arrays, outputs: Sequence[str], seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([seed, 77])
    values = evaluate(plan, full, record=False).values
    found = {}
    for name in outputs:
        if plan.specs[name].dtype in UNITS:
            cotangent = rng.standard_normal(values[name].shape)
            finite = np.isfinite(values[name].array)  # a masked score of -inf has no derivative
            found[name] = np.where(finite, cotangent, 0.0).astype(plan.specs[name].dtype)
    return found


def _confirmed(values: Arrays, official: Arrays) -> str:
    for name, want in official.items():
        got = values[name]
        if got.shape != want.shape:
            return f"the oracle's {name} has shape {got.shape}, the standard's test expects {want.shape}"
        if not np.allclose(got.astype(np.float64), want.astype(np.float64), 1e-3, 1e-6, equal_nan=True):
            return f"the oracle's {name} is not what the standard's own test expects"
    return ""
