"""Level 7: a checkpoint saved by one backend goes on in any other, and a resumed run is the uninterrupted one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import final

from polymodel.optim import Adam
from polymodel.options import Training
from polymodel_conformance.cases import Call, Case, Outcome, expectations, judged
from polymodel_conformance.levels import WHOLE
from polymodel_conformance.levels.trajectory import LR, batches_of, training_of
from polymodel_conformance.tolerance.compare import Expected
from polymodel_conformance.tolerance.floor import UNIT, measure
from polymodel_conformance.tolerance.verdict import Comparison, worst
from polymodel_conformance.training import initial_state, narrowed, one_step, step_dtypes, step_job, with_update_floor
from polymodel_conformance.workers.client import Answer
from polymodel_conformance.workers.jobs import Job

GIVER, FRESH = 2, 1
STATE = ("parameters/", "buffers/", "slots/")


def _exactly(answer: Answer) -> dict[str, Expected]:
    """The state of an answer, to be met bit by bit."""
    return {n: Expected(a, a.dtype.name, "exact") for n, a in answer.arrays.items() if n.startswith(STATE)}


@final
@dataclass
class HandOverCase(Case):
    """Save on one backend after a step, load on another: equal bytes there, and a next step as the oracle's.

    Attributes:
        training: what is trained and how.
        giver: the backend that saves.
    """

    id: str
    training: Training
    giver: str
    batches: Sequence[dict[str, object]]
    level: int = 7
    family: str = "checkpoint"

    def prepare(self) -> None:
        return None

    def judge(self, call: Call) -> Outcome:
        folder = Path(tempfile.mkdtemp(prefix="polymodel-conformance-"))
        try:
            return self._judge(call, folder / "saved")
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _judge(self, call: Call, path: Path) -> Outcome:
        training, lr = self.training, LR["adam"]
        # a seed that nothing here draws from names a program of its own, so that the giver's own cases, which run at
        # the same time, do not move its state between these two requests
        first = step_job(training, self.batches[0], initial_state(training), lr, 1)  # type: ignore[arg-type]
        stepped = call(replace(first, options={**first.options, "seed": GIVER}), self.giver)
        if stepped.status != "done":
            return judged(stepped, {}, self.family)
        options = {"path": str(path), "step": 1, "seed": GIVER}
        saved = call(Job("save", training.graph, training, {}, options), self.giver)
        if saved.status != "done":
            return judged(saved, {}, self.family)
        loaded = call(Job("load", training.graph, training, {}, {"path": str(path)}))
        same = judged(loaded, _exactly(saved), self.family)
        if loaded.status != "done":
            return same
        feeds = self.batches[1]
        state = {n: a for n, a in saved.arrays.items() if n.startswith(STATE)}
        found = measure(one_step(training, feeds, state, lr, 2), runs=2, unit=UNIT)  # type: ignore[arg-type]
        found = with_update_floor(training, state, lr, 2, found)
        after = narrowed(call(step_job(training, feeds, {}, lr, 2)))  # type: ignore[arg-type]
        next_step = judged(after, expectations(found, step_dtypes(training, found.values)), "trajectory")
        every: list[Comparison] = [*same.comparisons, *next_step.comparisons]
        return Outcome(
            worst([same.verdict, next_step.verdict]), every, same.message or next_step.message, found.undecidable
        )


@final
@dataclass
class ResumeCase(Case):
    """Three steps without a break against two steps, a checkpoint, a fresh load and the third: the same bits.

    Attributes:
        training: what is trained and how.
    """

    id: str
    training: Training
    batches: Sequence[dict[str, object]]
    level: int = 7
    family: str = "checkpoint"
    _expected: dict[str, Expected] = field(default_factory=dict)

    def prepare(self) -> None:
        return None

    def judge(self, call: Call) -> Outcome:
        training, lr = self.training, LR["adam"]
        folder = Path(tempfile.mkdtemp(prefix="polymodel-conformance-"))
        try:
            for i in (1, 2, 3):
                state = initial_state(training) if i == 1 else {}
                whole = call(step_job(training, self.batches[i - 1], state, lr, i))  # type: ignore[arg-type]
                if whole.status != "done":
                    return judged(whole, {}, self.family)
                if i == 2:
                    options = {"path": str(folder / "saved"), "step": 2}
                    saved = call(Job("save", training.graph, training, {}, options))
                    if saved.status != "done":
                        return judged(saved, {}, self.family)
            # again a seed that nothing draws from: the worker compiles a fresh program
            fresh = Job("load", training.graph, training, {}, {"path": str(folder / "saved"), "seed": FRESH})
            loaded = call(fresh)
            if loaded.status != "done":
                return judged(loaded, {}, self.family)
            again = step_job(training, self.batches[2], {}, lr, 3)  # type: ignore[arg-type]
            resumed = call(Job("step", again.graph, training, again.arrays, {**again.options, "seed": FRESH}))
            return judged(resumed, _exactly(whole), self.family)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def cases(profile: str, backends: Sequence[str], seed: int = 0) -> Iterator[Case]:
    """Every pair of backends, and every backend with itself, with two models; in the shorter profiles with one."""
    for name in ("lenet", "transformer") if profile in WHOLE else ("lenet",):
        training = training_of(name, Adam(LR["adam"]))
        batches = batches_of(name, 3, seed)
        for giver in backends:
            yield HandOverCase(f"checkpoint/{name}/from_{giver}", training, giver, batches)  # type: ignore[arg-type]
        yield ResumeCase(f"checkpoint/{name}/resume", training, batches)  # type: ignore[arg-type]
