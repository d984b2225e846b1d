"""Level 6: training of the reference models, and of every other model in a small size.

Teacher-forced (the gate): every step starts from the rounded float64 state of the step before, so a backend answers for one
step at a time, and a free-running optimizer's sensitivity to rounding hides nothing. Free: a few steps in a row, inside
the envelope that the same steps with rounding errors put in span.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import final

import numpy as np

from polymodel import models
from polymodel.graph import Graph
from polymodel.optim import SGD, Adam, Optimizer
from polymodel.options import Training
from polymodel.training.accumulation import Accumulation
from polymodel_conformance import cache, phases
from polymodel_conformance.cases import Call, Case, Outcome, expectations, judged, measured
from polymodel_conformance.corpus.models import MODELS, QUICK_TRAINED, draw_of, with_models
from polymodel_conformance.oracle.tape import Kinks, Noise
from polymodel_conformance.tolerance.compare import Expected
from polymodel_conformance.tolerance.floor import UNIT, Compute
from polymodel_conformance.training import (
    StepCase,
    Trajectory,
    initial_state,
    narrowed,
    one_step,
    step_dtypes,
    step_job,
)
from polymodel_conformance.workers.client import Answer
from polymodel_conformance.workers.jobs import graph_key, pack_rule

LR = {"sgd": float(np.float32(0.01)), "adam": float(np.float32(1e-3))}
BATCH = {"mlp": 16, "lenet": 8, "lstm": 4, "transformer": 2, "resnet18": 2}
SMALL = {"smoke": 0, "quick": 1, "full": 5, "exhaustive": 5}
"""Steps of the small models by profile."""
STEPS = {"smoke": 2, "quick": 2, "full": 20, "exhaustive": 50}
SMOKE = ("mlp", "lenet")
CUT = ("lenet", "transformer", "vgg11", "bert_classifier")
"""Trained in three parts of a batch too, and on three devices, against the oracle's step over the whole batch. Eight samples are cut
unevenly, the transformer's batch has but two; the last two, small ones, have dropout, whose masks are cut with the batch."""
QUICK = ("mlp", "lenet", "lstm")
"""The LSTM and phases with Adam only, parts of a batch with SGD only. Without ResNet-18, whose blocks are trained in the small model of
that name, and without the transformer, whose step a compiler takes long over."""
ALONE = {"smoke": (), "quick": ("mlp",), "full": ("mlp", "lstm"), "exhaustive": ("mlp", "lstm")}
"""Trained for a few steps in a row, with SGD."""
FREE = 5


def optimizers() -> dict[str, Optimizer]:
    """The two update rules that every model is trained with."""
    return {"sgd": SGD(LR["sgd"], momentum=0.9), "adam": Adam(LR["adam"])}


def training_of(name: str, rule: Optimizer) -> Training:
    """A reference model with cross entropy and an update rule."""
    return Training(_graph_of(name), "loss", rule)


@lru_cache(maxsize=len(BATCH))
def _graph_of(name: str) -> Graph:
    return models.reference(name).model.training_graph("cross_entropy")


def batches_of(name: str, steps: int, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """Batches of a reference model, one for each step."""
    found = []
    for i in range(steps):
        x, target = models.reference(name).make_batch(BATCH[name], seed=100 + i + 1000 * seed)
        found.append({"x": x, "target": target})
    return found


def cases(profile: str, backends: Sequence[str], seed: int = 0) -> Iterator[Case]:
    """Five models (two in the shortest profile, three in the quick one), and phases of steps over several models, with two update rules."""
    steps, quick = STEPS[profile], profile == "quick"
    for name in {"smoke": SMOKE, "quick": QUICK}.get(profile, tuple(models.REFERENCE)):
        batches = batches_of(name, steps, seed)
        for word, rule in optimizers().items():
            if quick and name not in SMOKE and word != "adam":
                continue
            training = training_of(name, rule)
            if name in CUT and (not quick or (name in SMOKE and word == "sgd")):
                yield from _cut(f"trajectory/{name}/{word}", training, batches[:1], LR[word])
            trajectory = Trajectory(training, batches, LR[word], 2 if name == "resnet18" else 4)
            for number in range(1, steps + 1):
                yield StepCase(f"trajectory/{name}/{word}/step{number:02}", 6, "trajectory", trajectory, number)
            if name in ALONE[profile] and word == "sgd":  # now, while the program is there
                yield FreeCase(f"trajectory/{name}/free", training, batches_of(name, FREE, seed), LR[word])
    for word in phases.WORDS[:2] if profile == "smoke" else phases.WORDS:
        for name, rule in phases.rules().items():
            if quick and name != "adam":
                continue
            few = min(steps, 5)
            trajectory = Trajectory(phases.training_of(word, rule), phases.batches_of(few, seed), phases.LR)
            for number in range(1, few + 1):
                yield StepCase(f"trajectory/phases/{word}/{name}/step{number:02}", 6, "trajectory", trajectory, number)
    yield from _small(profile, seed)


def _small(profile: str, seed: int) -> Iterator[Case]:
    """Every model of polymodel.models, with SGD."""
    graphs = {} if profile == "smoke" else {entry.name: entry.graph for entry in with_models(training=True)}
    for name in {"smoke": (), "quick": QUICK_TRAINED}.get(profile, tuple(MODELS)):
        draw = draw_of(name)
        training = Training(graphs[f"model/{name}"], "loss", optimizers()["sgd"])
        batches = [dict(draw(100 + i + 1000 * seed)) for i in range(SMALL[profile])]
        if name in CUT:
            yield from _cut(f"trajectory/small_{name}/sgd", training, batches[:1], LR["sgd"])
        trajectory = Trajectory(training, batches, LR["sgd"], 2)
        for number in range(1, len(batches) + 1):
            yield StepCase(f"trajectory/small_{name}/sgd/step{number:02}", 6, "trajectory", trajectory, number)


def _cut(path: str, training: Training, batches: Sequence[dict[str, np.ndarray]], lr: float) -> Iterator[Case]:
    """The first step over parts of the batch, one after the other and on several devices."""
    parts = Trajectory(replace(training, accumulate=Accumulation(3)), batches, lr)
    yield StepCase(f"{path}/accumulated", 6, "trajectory", parts, 1)
    yield StepCase(f"{path}/devices", 6, "trajectory", Trajectory(training, batches, lr, devices=3), 1)


@final
@dataclass
class FreeCase(Case):
    """Several steps in a row.

    Attributes:
        training: what is trained and how.
        batches: inputs of the steps.
        lr: learning rate.
    """

    id: str
    training: Training
    batches: Sequence[dict[str, np.ndarray]]
    lr: float
    level: int = 6
    family: str = "free trajectory"
    _expected: dict[str, Expected] = field(default_factory=dict)

    def prepare(self) -> None:
        key = cache.Key("free", graph_key(self.training.graph), repr(pack_rule(self.training.optimizer)), repr(self.lr))
        for feeds in self.batches:
            key.arrays(feeds)
        found = measured(self._compute(), key, runs=4, unit=UNIT)
        plain = {n: n.partition("@")[0] for n in found.values}
        dtypes = step_dtypes(self.training, dict.fromkeys(plain.values()))
        self._expected = expectations(found, {n: dtypes[p] for n, p in plain.items()})

    def _compute(self) -> Compute:
        def compute(noise: Noise | None, kinks: Kinks) -> dict[str, np.ndarray]:
            state = initial_state(self.training)
            losses = {}
            for i, feeds in enumerate(self.batches):
                new = dict(one_step(self.training, feeds, state, self.lr, i + 1)(noise, kinks))
                losses[f"scalar/loss@{i + 1}"] = new.pop("scalar/loss")
                state = {**state, **{n: a for n, a in new.items() if not n.startswith("g/")}}
            return {**losses, **{n: a for n, a in state.items() if n.startswith("parameters/")}}

        return compute

    def judge(self, call: Call) -> Outcome:
        answer, losses = Answer("error"), {}
        for i, feeds in enumerate(self.batches):
            state = initial_state(self.training) if i == 0 else {}
            answer = narrowed(call(step_job(self.training, feeds, state, self.lr, i + 1)))
            if answer.status != "done":
                return judged(answer, self._expected, self.family)
            losses[f"scalar/loss@{i + 1}"] = answer.arrays["scalar/loss"]
        outcome = judged(Answer("done", {**answer.arrays, **losses}), self._expected, self.family)
        left = [c.name.partition("@")[2] for c in outcome.comparisons if c.verdict.bad and "@" in c.name]
        message = f"leaves the envelope at step {left[0]}; {outcome.message}" if left else outcome.message
        return Outcome(outcome.verdict, outcome.comparisons, message)

    def release(self) -> None:
        self._expected = {}
