"""Asking one worker about random graphs, and looking into what it fails."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np

from polymodel.errors import PolymodelError
from polymodel_conformance.cases import Outcome, Undecided
from polymodel_conformance.random_graphs import witness
from polymodel_conformance.random_graphs.case import Question, questions
from polymodel_conformance.random_graphs.choices import Choices
from polymodel_conformance.random_graphs.known import key, known, line_of
from polymodel_conformance.random_graphs.operators import TABLE
from polymodel_conformance.random_graphs.report import Found, RandomReport
from polymodel_conformance.random_graphs.shrink import alone, shrink
from polymodel_conformance.random_graphs.sketch import Sample, sample
from polymodel_conformance.reporting.evidence import keep
from polymodel_conformance.tolerance.verdict import Verdict
from polymodel_conformance.workers.client import Worker


@final
@dataclass(frozen=True)
class Item:
    """A graph that was drawn.

    Attributes:
        index: its number.
        sample: itself.
        asked: its questions.
    """

    index: int
    sample: Sample
    asked: Sequence[Question]


def build(choices: Choices) -> Sample | None:
    """The graph of some choices."""
    return sample(choices, TABLE)


@final
class Judge:
    """Asks one worker.

    Args:
        backend: its name.
        worker: to ask.
        report: where verdicts and failures go.
        lock: held while the report changes.
        shrinking: seconds to spend on making one failure small.
        folder: of the failures' evidence; none is kept when None.
    """

    def __init__(
        self, backend: str, worker: Worker, report: RandomReport, lock: threading.Lock, shrinking: float, folder: Path | None
    ) -> None:
        self._backend = backend
        self._worker = worker
        self._report = report
        self._lock = lock
        self._shrinking = shrinking
        self._folder = folder
        self._lines = known()

    def __call__(self, item: Item, question: Question) -> Verdict:
        """One judgement, in the report when it returns."""
        outcome = self._ask(question)
        verdict, verb = outcome.verdict, question.job.verb
        if verdict.bad:
            expected = [self._named(item, *cause) for cause in self._causes(item.sample, question, outcome)]
            verdict = Verdict.EXPECTED if all(expected) else verdict
        with self._lock:
            self._report.judged[self._backend, verb, verdict.value] += 1
        return verdict

    def _ask(self, question: Question) -> Outcome:
        """Ask twice: what the first call leaves behind must not change the second."""
        outcome = question.judge(answer := self._worker.call(question.job))
        if answer.error == witness.REFUSED:
            return Outcome(Verdict.UNCLAIMED, (), answer.message)
        if outcome.verdict.bad or self._backend == witness.NAME:
            return outcome
        again = question.judge(self._worker.call(question.job))
        return replace(again, message=f"called again: {again.message}") if again.verdict.bad else outcome

    def _causes(self, start: Sample, question: Question, outcome: Outcome) -> list[tuple[str, Sample, Question, Outcome]]:
        """What a failure comes from: the calls that fail alone, else the smallest graph that does, each with its name."""
        verb, sort = question.job.verb, _sort_of(outcome)
        if not self._ask(question).verdict.bad:
            passed = Outcome(outcome.verdict, outcome.comparisons, f"passed when it was asked again: {outcome.message}")
            return [(f"{key(self._backend, verb, start)} once", start, question, passed)]
        seen: dict[int, tuple[Question, Outcome]] = {}

        def fails(tried: Sample) -> bool:
            for asked in _again(tried):
                if asked.job.verb == verb:
                    found = self._ask(asked)
                    if found.verdict.bad and _sort_of(found) == sort:
                        seen[id(tried)] = asked, found
                        return True
            return False

        small = [s for s in alone(start) if fails(s)]
        if not small:
            smallest = shrink(start, build, fails, self._shrinking)
            small = [smallest]
        return [(key(self._backend, verb, s), s, *seen.get(id(s), (question, outcome))) for s in small]

    def _named(self, item: Item, name: str, small: Sample, question: Question, outcome: Outcome) -> bool:
        """Write a cause down; whether it is expected."""
        line = line_of(name, small, self._lines, outcome.verdict)
        with self._lock:
            if (found := self._report.failures.get(line or name)) is not None:
                if item.index not in found.graphs:
                    found.graphs.append(item.index)
                return bool(line)
            found = Found(line or name, [item.index], outcome.verdict.value, outcome.message, small.drawn, "", self._lines.get(line, ""))
            self._report.failures[line or name] = found
        if self._folder is not None:
            case = re.sub(r"[^\w.+=-]+", "-", (line or name).partition(" ")[2])[:90]
            place = keep(self._folder, case, self._backend, outcome.message, question.job, question.expected, question.limits)
            _keep_inputs(place, question)
            found.folder = str(place)
        return bool(line)


def _again(tried: Sample) -> Sequence[Question]:
    try:
        return questions(tried)
    except (Undecided, PolymodelError, NotImplementedError, ValueError, IndexError, KeyError):
        return ()


def _sort_of(outcome: Outcome) -> str:
    """What kind of failure it is, whatever the numbers."""
    if outcome.verdict in (Verdict.ERROR, Verdict.CRASH):
        return re.sub(r"\d+|'[^']*'|\[[^]]*\]", "", outcome.message.splitlines()[0].rpartition("): ")[2])[:60]
    return "values"


def _keep_inputs(folder: Path, question: Question) -> None:
    """The inputs once more under their own names, for any other program."""
    feeds = {n.removeprefix("feed/"): a for n, a in question.job.arrays.items() if n.startswith("feed/")}
    values: dict[str, Any] = {**question.job.graph.parameters, **feeds}
    with (folder / "inputs.npz").open("wb") as file:
        np.savez_compressed(file, **values)
