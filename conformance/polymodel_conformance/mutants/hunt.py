"""The hunt: known faults are planted in the traffic with a worker, and the suite must notice each.

A mutant changes what a worker is asked (the graph, the update rule, the inputs), what it answered, or a file that was written, while
the oracle keeps the truth. Each runs on a case of the suite that a correct backend passes; it is caught when numbers are
compared and found wrong, an error does not count. The controls are that the unchanged case passes, and that harmless
changes pass, which round in another order.

A mutant that changes no bit of any answer on a backend is not one there: it has no effect, and does not count.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np

from polymodel_conformance.cases import Case, Outcome, ask
from polymodel_conformance.levels.artifact import ArtifactCase
from polymodel_conformance.mutants.bench import bench
from polymodel_conformance.mutants.mutant import Mutant
from polymodel_conformance.mutants.table import MUTANTS
from polymodel_conformance.tolerance.verdict import Verdict
from polymodel_conformance.workers.client import HERE, Answer, Place
from polymodel_conformance.workers.jobs import Job

Send = Callable[[Job], Answer]
Claims = Callable[[Case], bool]


@final
@dataclass
class Traffic:
    """Requests and answers of one judgement, with a mutant in between.

    Attributes:
        send: asks the worker.
        mutant: changes what goes through; None for the control.
        replayed: answers of the control, for a mutant that changes answers only.
        answers: what the worker said before it was changed, for the control to be replayed.
        seen: what the judge saw.
    """

    send: Send
    mutant: Mutant | None = None
    replayed: list[Answer] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    seen: list[Answer] = field(default_factory=list)

    def __call__(self, job: Job, backend: str | None = None, place: Place = HERE) -> Answer:
        mutant = self.mutant
        if self.replayed:
            answer = self.replayed[len(self.answers)]
        else:
            answer = self.send(job if mutant is None or mutant.ask is None else mutant.ask(job))
        self.answers.append(answer)
        if mutant is not None and answer.status == "done":
            if mutant.tamper is not None and job.verb == "save":
                mutant.tamper(Path(job.options["path"]))
            if mutant.reply is not None:
                answer = mutant.reply(job, answer)
        self.seen.append(answer)
        return answer


def hunt(backend: str, send: Send, claims: Claims = lambda case: True, only: Iterable[str] = ()) -> Iterator[dict[str, Any]]:
    """Plant every mutant on a backend.

    Args:
        backend: its name.
        send: asks its worker.
        claims: whether it has what a case needs; the mutants of other cases are left out.
        only: names of mutants; all when empty.

    Yields:
        One row each: mutant, group, backend, verdict, score and limit of the comparison that noticed, "caught" when it came out
        as it should, "effect" when any bit of an answer changed. "control" is set for what must pass: each unchanged case, whose
        group is "unchanged", and each harmless change.
    """
    names = set(only)
    chosen = [(g, m) for g, m in MUTANTS if not names or m.name in names]
    by_case: dict[str, list[tuple[str, Mutant]]] = {}
    for group, mutant in chosen:
        by_case.setdefault(mutant.case.format(backend=backend), []).append((group, mutant))
    for case in bench(by_case, backend).values():
        if claims(case):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                yield from _on(case, backend, send, by_case[case.id])
    if not names:
        yield _empty(backend)


def _on(case: Case, backend: str, send: Send, mutants: Iterable[tuple[str, Mutant]]) -> Iterator[dict[str, Any]]:
    """The control of a case, and its mutants."""
    case.prepare()
    control = Traffic(send)
    outcome = ask(case, control)
    if outcome.verdict is Verdict.UNCLAIMED:
        return
    yield _row(case.id, "unchanged", backend, outcome, passes=True)
    for group, mutant in mutants:
        replayed = control.answers if mutant.ask is None and mutant.tamper is None else []
        traffic = Traffic(send, mutant, list(replayed))
        outcome = ask(_tampered(case, mutant), traffic)
        effect = mutant.tamper is not None or not same(control.seen, traffic.seen)
        yield _row(mutant.name, group, backend, outcome, passes=mutant.harmless, effect=effect)
    case.release()


def _tampered(case: Case, mutant: Mutant) -> Case:
    if mutant.tamper is None or not isinstance(case, ArtifactCase):
        return case
    changed = copy.copy(case)
    changed.written = mutant.tamper
    return changed


def same(one: Iterable[Answer], other: Iterable[Answer]) -> bool:
    """Whether two rows of answers have the same bits."""
    a, b = ([_bits(answer.arrays) for answer in answers] for answers in (one, other))
    return a == b


def _bits(arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {n: (a.dtype.name, a.shape, np.ascontiguousarray(a).tobytes()) for n, a in arrays.items()}


def _row(name: str, group: str, backend: str, outcome: Outcome, *, passes: bool, effect: bool = True) -> dict[str, Any]:
    top = outcome.worst
    noticed = outcome.verdict in (Verdict.FAIL, Verdict.SUSPICIOUS)
    return {
        "mutant": name,
        "group": group,
        "control": passes,
        "backend": backend,
        "caught": outcome.verdict is Verdict.PASS if passes else noticed,
        "effect": effect,
        "verdict": outcome.verdict.value,
        "score": f"{top.score:.3g}" if top else outcome.message[:200],
        "limit": f"{top.limit:.3g}" if top else "",
    }


def _empty(backend: str) -> dict[str, Any]:
    """A run that collects nothing must not pass."""
    from polymodel_conformance.judging import judge_all
    from polymodel_conformance.reporting.report import Report

    report = Report("smoke", [1], [backend])
    judge_all(report, {}, [], quiet=True)
    row = _row("no case collected", "collection", backend, Outcome(Verdict.FAIL), passes=False)
    return {**row, "caught": report.exit_code == 1}
