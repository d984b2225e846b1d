"""Level 9: the same question has the same answer, bit by bit: asked again, in another process, twice with two threads.

How many threads share a sum decides in which order it is made, and kernels choose by the processor whether they share it; what two
threads answer is judged by the oracle. And a sample has the answer that it has, whatever else is in its batch: with other neighbours
of the same number the same bits, even when those are NaN; alone within the rounding floor, since kernels choose their blocks by the
size of the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, final

import numpy as np

from polymodel import models
from polymodel.graph import Graph
from polymodel.optim import Adam
from polymodel_conformance.cases import Call, Case, GraphCase, Outcome, all_feeds, expectations, judged, plan_of
from polymodel_conformance.corpus.generated.row import Fed, Input, build, draw
from polymodel_conformance.levels import WHOLE
from polymodel_conformance.levels.trajectory import LR, batches_of, training_of
from polymodel_conformance.tolerance.bits import all_same_bits, same_bits
from polymodel_conformance.tolerance.compare import Expected
from polymodel_conformance.tolerance.floor import UNIT, forward, measure
from polymodel_conformance.tolerance.verdict import Comparison, worst
from polymodel_conformance.training import StepCase, Trajectory, initial_state, step_job
from polymodel_conformance.workers.client import HERE, Answer, Place
from polymodel_conformance.workers.jobs import Job

WHERE: dict[str, Place] = {"again": HERE, "process": Place(process=1)}
"""Where a question is asked for the second time. A process takes seconds to start: the shorter profiles start none, or one."""
PLACES = {"smoke": ("again",), "quick": tuple(WHERE), **dict.fromkeys(WHOLE, tuple(WHERE))}
TWO = Place(threads=2)
STEPS = 3
_REPEATED = Fed(np.random.default_rng(6).integers(0, 11, 20000))

OPERATORS: dict[str, tuple[str, tuple[Input, ...], dict[str, Any]]] = {
    "sum": ("ReduceSum", ((200, 1001),), {"keepdims": 0}),
    "mean_of_rows": ("ReduceMean", ((3, 40001), np.array([1])), {}),
    "matmul": ("MatMul", ((257, 513), (513, 129)), {}),
    "conv": ("Conv", ((4, 8, 41, 39), (16, 8, 3, 3), (16,)), {"pads": [1, 1, 1, 1]}),
    "softmax": ("Softmax", ((64, 3001),), {}),
    "layer_norm": ("LayerNormalization", ((64, 1501), (1501,), (1501,)), {}),
    "max_pool": ("MaxPool", ((4, 8, 41, 39),), {"kernel_shape": [3, 3], "strides": [2, 2]}),
    "gather": ("Gather", ((11, 7), _REPEATED), {"axis": 0}),
    "exp": ("Exp", ((64, 3001),), {}),
}
"""Calls large enough to be shared by threads; the derivative of "gather" adds 1800 rows to each of 11."""
CHOSEN = {"smoke": ("sum", "conv"), "quick": ("sum", "matmul", "conv", "layer_norm", "gather"), **dict.fromkeys(WHOLE, tuple(OPERATORS))}
TRAINED = {"smoke": ("lenet",), "quick": ("lenet",), **dict.fromkeys(WHOLE, tuple(models.REFERENCE))}
IN_BATCHES = {"smoke": ("lenet",), "quick": ("mlp", "lenet", "lstm"), **dict.fromkeys(WHOLE, tuple(models.REFERENCE))}


@final
@dataclass
class SameBitsCase(Case):
    """A list of requests, made twice.

    Attributes:
        jobs: in their order; the last answer is compared.
        second: where they are made for the second time.
    """

    id: str
    jobs: Sequence[Job]
    second: Place
    level: int = 9
    family: str = "determinism"

    def prepare(self) -> None:
        return None

    def judge(self, call: Call) -> Outcome:
        answers = []
        for place in (HERE, self.second):
            for job in self.jobs:
                answer = call(job, None, place) if place != HERE else call(job)
                if answer.status != "done":
                    return judged(answer, {}, self.family)
            answers.append(answer)
        found = all_same_bits(answers[1].arrays, answers[0].arrays, self.family)
        return _outcome(found)


@final
@dataclass
class ThreadsCase(Case):
    """A case of another level with two threads, and its question once more.

    Attributes:
        inner: the case.
    """

    id: str
    inner: GraphCase | StepCase
    level: int = 9
    family: str = "determinism"

    def prepare(self) -> None:
        self.inner.prepare()

    def judge(self, call: Call) -> Outcome:
        answers: list[Answer] = []

        def ask(job: Job, backend: str | None = None, place: Place = HERE) -> Answer:
            answers.append(call(job, backend, replace(place, threads=TWO.threads)))
            return answers[-1]

        outcomes = [self.inner.judge(ask) for _ in range(2)]
        if any(a.status != "done" for a in answers):
            return next(o for o, a in zip(outcomes, answers, strict=True) if a.status != "done")
        again = all_same_bits(answers[1].arrays, answers[0].arrays, self.family)
        return _outcome([*outcomes[0].comparisons, *again])

    def release(self) -> None:
        self.inner.release()


@final
@dataclass
class BatchCase(Case):
    """One sample in several batches.

    Attributes:
        graph: of a model in evaluation, its inputs with the samples first.
        batch: inputs.
        others: inputs of the same shapes, whose samples become the neighbours.
        sample: which one is watched.
    """

    id: str
    graph: Graph
    batch: Mapping[str, np.ndarray]
    others: Mapping[str, np.ndarray]
    sample: int = 1
    level: int = 9
    family: str = "batch composition"
    _expected: dict[str, Expected] = field(default_factory=dict)

    def prepare(self) -> None:
        alone = self._alone()
        full = all_feeds(self.graph, alone)
        plan = plan_of(self.graph, self.graph.outputs, full)
        found = measure(forward(plan, full), runs=4, unit=UNIT)
        self._expected = expectations(found, {n: plan.specs[n].dtype for n in found.values})

    def _alone(self) -> dict[str, np.ndarray]:
        return {n: a[self.sample : self.sample + 1] for n, a in self.batch.items()}

    def _among(self, value: float | None = None) -> dict[str, np.ndarray]:
        """The sample where it was, among other samples; all of a number where one is given and the input has floats."""
        found = {}
        for n, a in self.batch.items():
            found[n] = self.others[n].copy() if value is None or a.dtype.kind != "f" else np.full_like(a, value)
            found[n][self.sample] = a[self.sample]
        return found

    def judge(self, call: Call) -> Outcome:
        def ask(feeds: Mapping[str, np.ndarray]) -> Answer:
            return call(Job("predict", self.graph, None, {f"feed/{n}": a for n, a in feeds.items()}))

        first, alone = ask(self.batch), ask(self._alone())
        outcome = judged(alone, self._expected, self.family)
        if first.status != "done" or alone.status != "done":
            return outcome if alone.status != "done" else judged(first, {}, self.family)
        found = list(outcome.comparisons)
        for words, feeds in (("other neighbours", self._among()), ("neighbours of NaN", self._among(np.nan))):
            answer = ask(feeds)
            if answer.status != "done":
                return judged(answer, {}, self.family)
            for name, want in first.arrays.items():
                got = answer.arrays[name][self.sample]
                found.append(same_bits(f"{name}, {words}", got, want[self.sample], self.family))
        return _outcome(found)


def _outcome(found: Sequence[Comparison]) -> Outcome:
    bad = [c for c in found if c.verdict.bad]
    return Outcome(worst([c.verdict for c in found]), found, f"{bad[0].name}: {bad[0].detail}" if bad else "")


def _questions(profile: str, seed: int) -> Iterator[tuple[str, list[Job]]]:
    for name in CHOSEN[profile]:
        graph, inputs, wrt = _operator(name)
        feeds = {f"feed/{n}": a for n, a in draw(inputs, seed).items()}
        yield f"values_of_{name}", [Job("predict", graph, None, feeds, {"outputs": list(graph.outputs)})]
        shape = [int(d) for d in graph.specs["o0"].shape if isinstance(d, int)]
        cotangent = np.random.default_rng([seed, 5]).standard_normal(shape).astype(np.float32)
        yield f"gradients_of_{name}", [Job("gradients", graph, None, {**feeds, "cotangent/o0": cotangent}, {"wrt": list(wrt)})]
    for name in TRAINED[profile]:
        training = training_of(name, Adam(LR["adam"]))
        batches = batches_of(name, STEPS, seed)
        yield f"training_of_{name}", [
            step_job(training, batches[i], initial_state(training) if i == 0 else {}, LR["adam"], i + 1) for i in range(STEPS)
        ]


def _operator(name: str) -> tuple[Graph, tuple[Input, ...], tuple[str, ...]]:
    """The graph of a call, its inputs, and those that it is differentiated by."""
    op, inputs, attributes = OPERATORS[name]
    graph = build(op, inputs, attributes)
    return graph, inputs, tuple(n for n in graph.inputs if graph.specs[n].dtype == "float32")


def _with_threads(profile: str, seed: int) -> Iterator[tuple[str, GraphCase | StepCase]]:
    """What is asked with two threads, judged as at levels 1, 2 and 6."""
    for name in CHOSEN[profile]:
        graph, inputs, wrt = _operator(name)
        yield f"values_of_{name}", GraphCase("", 1, graph, partial(draw, inputs), seed=seed)
        yield f"gradients_of_{name}", GraphCase("", 2, graph, partial(draw, inputs), wrt, seed=seed)
    for name in TRAINED[profile]:
        runs = 2 if name == "resnet18" else 4
        trajectory = Trajectory(training_of(name, Adam(LR["adam"])), batches_of(name, 1, seed), LR["adam"], runs)
        yield f"training_of_{name}", StepCase("", 6, "trajectory", trajectory, 1)


def cases(profile: str, backends: Sequence[str], seed: int = 0) -> Iterator[Case]:
    """Operators and trainings, each asked again, elsewhere and with two threads; and samples in batches."""
    for name, jobs in _questions(profile, seed):
        for word in PLACES[profile]:
            yield SameBitsCase(f"determinism/{word}/{name}", jobs, WHERE[word])
    for name, inner in _with_threads(profile, seed) if profile in WHOLE else ():
        inner.id = f"determinism/threads/{name}"
        yield ThreadsCase(inner.id, inner)
    for name in IN_BATCHES[profile]:
        model = models.reference(name)
        batch, others = ({"x": model.make_batch(4, seed=900 + 10 * seed + i)[0]} for i in (0, 1))
        yield BatchCase(f"determinism/batch/{name}", model.model.graph, batch, others)
