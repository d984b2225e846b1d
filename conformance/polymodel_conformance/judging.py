"""Judging cases on workers: one thread computes what should come out, one for each backend asks and compares.

While the workers compute, the oracle goes on with the next cases. A thread that has no more to do helps the backend that has most left,
in a second process of it. In the shorter profiles small cases are asked as one (together.py); a case that does not pass in company is
judged alone, and the longer profiles judge each alone.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

from polymodel.passes.carriers import carrier
from polymodel_conformance.cases import Case, GraphCase, Outcome, Undecided, ask
from polymodel_conformance.known_failures import known, settle
from polymodel_conformance.levels import LEVELS, WHOLE
from polymodel_conformance.reporting.evidence import keep
from polymodel_conformance.reporting.journal import Journal
from polymodel_conformance.reporting.progress import Progress
from polymodel_conformance.reporting.report import ORACLE, Report, Result
from polymodel_conformance.together import MOST, Kind, Together, kind_of, together
from polymodel_conformance.tolerance.compare import Expected
from polymodel_conformance.tolerance.verdict import Verdict
from polymodel_conformance.workers.client import HERE, Answer, Place, Unavailable, Worker
from polymodel_conformance.workers.devices import obstacle
from polymodel_conformance.workers.jobs import Job
from polymodel_conformance.workers.line import Line

_AHEAD = 1 << 30
"""Bytes that the oracle may be ahead of the slowest backend: it goes on to long trainings while that compiles short programs."""
_HELPING = Place(process=-1)
_WORTH = 64
"""Requests that must be left for a second process to be worth its start."""


def judge_all(
    report: Report,
    workers: Mapping[str, Worker],
    cases: Sequence[Case],
    quiet: bool | None = None,
    partial: bool = False,
    evidence: Path | None = None,
    journal: Journal | None = None,
) -> None:
    """Judge cases on workers that are started, and put the results into the report; no case is a problem.

    What the journal holds already is taken from it.
    """
    if not cases:
        report.problems.append("no case was collected: nothing was judged")
        return
    ids = {c.id for c in cases}
    all_of_it = report.profile in WHOLE and set(report.levels) == set(LEVELS) and not partial
    for backend in workers if all_of_it else ():
        report.problems += [f"known/{backend}.txt lists {i!r}, which no case has" for i in known(backend) if i not in ids]
    with Progress(len(cases) * len(workers), quiet) as progress:
        _Judging(report, workers, progress, evidence, journal).run(cases)
    order = {c.id: i for i, c in enumerate(cases)}
    report.results.sort(key=lambda r: (order[r.case], list(workers).index(r.backend)))
    for backend in workers:
        own = [r.outcome.verdict for r in report.results if r.backend == backend]
        if not any(v.judged for v in own) and not (own and all(v is Verdict.NOT_RUN for v in own)):
            report.problems.append(f"no case was judged on {backend!r}")


def claims(about: Mapping[str, Any], case: Case) -> bool:
    """Whether a backend says that it has all that a case needs."""
    operators = {(d, o) for d, o in about["operators"]}
    held = {*about["dtypes"], "bool"}
    return case.needs <= operators and (about["tf32"] or not case.tf32) and all(carrier(d, held) in held for d in case.dtypes)


@final
@dataclass(frozen=True)
class _Item:
    """Prepared cases on their way to the backends' threads; the last backend to finish drops what was prepared."""

    cases: Sequence[Case]
    joint: Together | None
    left: list[str]
    size: int


@final
@dataclass
class _Judging:
    """One run over cases."""

    report: Report
    workers: Mapping[str, Worker]
    progress: Progress
    evidence: Path | None
    journal: Journal | None
    _lock: threading.Condition = field(default_factory=threading.Condition)
    _ahead: int = 0

    def run(self, cases: Sequence[Case]) -> None:
        """Prepare what is not in the journal, and hand it to the backends' threads."""
        self._reasons = {b: known(b) for b in self.workers}
        self._lines: dict[str, Line[_Item]] = {b: Line() for b in self.workers}
        self._busy, self._helped = 1 + len(self.workers), set[str]()
        threads = [threading.Thread(target=self._lane, args=(b,), daemon=True) for b in self.workers]
        for thread in threads:
            thread.start()
        self._hand_out(cases)
        for line in self._lines.values():
            line.close()
        self._help()
        for thread in threads:
            thread.join()

    def _lane(self, backend: str) -> None:
        _Lane(self, backend, self._lines[backend], self.workers[backend]).run()
        self._help()

    def _help(self) -> None:
        """What a thread does that has no more to do: if a core is idle and a backend has much left, work for it from the other end."""
        with self._lock:
            self._busy -= 1
            left = {b: len(line) for b, line in self._lines.items() if b not in self._helped and self.workers[b].device == "cpu"}
            backend = max(left, key=left.__getitem__, default="")
            if not backend or left[backend] < _WORTH or self._busy >= (os.cpu_count() or 1):
                return
            self._busy += 1
            self._helped.add(backend)
        worker = self.workers[backend].at(_HELPING)
        try:
            worker.start()
        except Unavailable:
            return  # which costs time, and nothing else
        _Lane(self, backend, self._lines[backend], worker, helping=True).run()
        worker.stop()

    def _hand_out(self, cases: Sequence[Case]) -> None:
        host = {(d, o) for w in self.workers.values() for d, o in w.about.get("host", ())}
        waiting: dict[tuple[Kind, tuple[str, ...]], list[GraphCase]] = {}

        def put(found: Sequence[Case], joint: Together | None, asked: Sequence[str]) -> None:
            item = _Item(found, joint, list(asked), sum(_size(case) for case in found))
            with self._lock:
                self._lock.wait_for(lambda: not self._ahead or self._ahead + item.size <= _AHEAD)
                self._ahead += item.size
            for backend in asked:
                self._lines[backend].put(item)

        for case in sorted(cases, key=lambda c: c.level == 0):  # the suite itself last: it takes the oracle, and the backends nothing
            asked = self._prepared(case)
            kind = kind_of(case, host) if asked and self.report.profile not in WHOLE else None
            if kind is None and asked:
                put([case], None, asked)
            elif kind is not None and isinstance(case, GraphCase):
                own = waiting.setdefault((kind, tuple(asked)), [])
                own.append(case)
                if len(own) == MOST:
                    put(own, together(own), asked)
                    del waiting[kind, tuple(asked)]
        for (_, some), own in waiting.items():
            put(own, together(own) if len(own) > 1 else None, some)

    def _prepared(self, case: Case) -> list[str]:
        """Compute what should come out.

        Returns:
            The backends to ask; the results of the others are recorded.
        """
        done = {} if self.journal is None else self.journal.done
        for backend in self.workers:
            if (result := done.get((case.id, backend))) is not None:
                with self._lock:
                    self._enter(result)
                    if result.outcome.verdict is Verdict.UNDECIDED:
                        self.report.undecided[case.id] = result.outcome.message
        asked = []
        for backend, worker in self.workers.items():
            if (case.id, backend) in done:
                continue
            if case.cuda and (why := obstacle(worker)):
                self.record(case, backend, Outcome(Verdict.NOT_RUN, (), why), 0.0)
            elif not claims(worker.about, case):
                self.record(case, backend, Outcome(Verdict.UNCLAIMED, (), "the backend does not claim it"), 0.0)
            else:
                asked.append(backend)
        begin = time.thread_time()
        reason = _prepare(case) if asked else ""
        self.spent(ORACLE, case.level, time.thread_time() - begin)
        if not reason:
            return asked
        self.report.undecided[case.id] = reason
        for backend in asked:
            self.record(case, backend, Outcome(Verdict.UNDECIDED, (), reason), 0.0)
        return []

    def done(self, item: _Item, backend: str) -> None:
        """A backend needs a request no more."""
        with self._lock:
            item.left.remove(backend)
            if item.left:
                return
            self._ahead -= item.size
            self._lock.notify_all()
        for case in item.cases:
            case.release()

    def _enter(self, result: Result) -> None:
        self.report.results.append(result)
        self.progress.advance(result.case, result.outcome.verdict)

    def record(self, case: Case, backend: str, outcome: Outcome, seconds: float) -> None:
        """Put a result into the report and the journal."""
        settled = settle(case.id, outcome, self._reasons[backend], strict=self.report.seed == 0)
        double = "float64" in case.dtypes
        operator = next(iter(case.operators)) if len(case.operators) == 1 else ""
        result = Result(case.id, case.level, case.family, backend, settled, seconds, double, operator)
        with self._lock:
            self._enter(result)
            if self.journal is not None:
                self.journal.add(result)

    def problem(self, words: str) -> None:
        """Put what is wrong with no single case into the report."""
        with self._lock:
            self.report.problems.append(words)

    def spent(self, who: str, level: int, seconds: float) -> None:
        """Add processor time."""
        with self._lock:
            own = self.report.cpu.setdefault(who, {})
            own[level] = own.get(level, 0.0) + seconds

    def count(self, backend: str, **numbers: int) -> None:
        """Count requests, and the cases that were judged in company and alone."""
        with self._lock:
            own = self.report.requests.setdefault(backend, {"programs": 0, "together": 0, "alone": 0})
            for word, number in numbers.items():
                own[word] += number


def _size(case: Case) -> int:
    """Bytes of values, floors and inputs, about."""
    return 1024 + 3 * sum(e.value.nbytes for e in case.expected.values())


def _prepare(case: Case) -> str:
    """Why a case has no verdict; empty when it can be judged."""
    try:
        case.prepare()
    except Undecided as error:
        return error.reason
    except Exception as error:  # an oracle that fails must not end the run, and must not look like a pass
        return f"the oracle failed: {type(error).__name__}: {error}"
    return ""


@final
@dataclass(frozen=True)
class _Found:
    """What came of a case by itself, and the last request of it with its answer."""

    case: Case
    outcome: Outcome
    seconds: float
    expected: Mapping[str, Expected]
    last: tuple[Job, Worker, Answer] | None


@final
@dataclass
class _Lane:
    """Judges the cases of one backend as they are prepared, in one process."""

    judging: _Judging
    backend: str
    line: Line[_Item]
    worker: Worker
    helping: bool = False

    def run(self) -> None:
        """Until there is nothing more."""
        before = self._spent()
        while (item := self.line.take(last=self.helping)) is not None:
            if item.joint is None:
                for case in item.cases:
                    self._enter(self._judged(case))
            else:
                self._together(item.joint)
            now = self._spent()
            self.judging.spent(self.backend, item.cases[0].level, now - before)
            before = now
            self.judging.done(item, self.backend)

    def _spent(self) -> float:
        """Processor seconds of the process, without those of who helps it."""
        helped = not self.helping and self.backend in self.judging._helped
        return self.worker.cpu_seconds - (self.worker.at(_HELPING).cpu_seconds if helped else 0.0)

    def _together(self, joint: Together) -> None:
        """What passes in company has passed; the rest is judged alone, where each has the blame for its own.

        Where none fails alone, what failed in company has failed.
        """
        begin = time.monotonic()
        answer = self.worker.call(joint.job)
        left: list[tuple[int, Outcome | None]] = []
        share = (time.monotonic() - begin) / len(joint.cases)
        for i, case in enumerate(joint.cases):
            outcome = _heard(case, joint.answer_of(i, answer))
            if outcome is not None and outcome.verdict is Verdict.PASS:
                self.judging.record(case, self.backend, outcome, share)
            else:
                left.append((i, outcome))
        self.judging.count(self.backend, programs=1, together=len(joint.cases) - len(left))
        alone = [self._judged(joint.cases[i]) for i, _ in left]
        blamed = any(found.outcome.verdict.bad for found in alone)
        if answer.status == "crash" and not blamed:
            words = f"{answer.error} of a program of {', '.join(c.id for c in joint.cases)}, each of which passes alone: {answer.message}"
            self.judging.problem(f"{self.backend}: {words}")
        for (_, in_company), found in zip(left, alone, strict=True):
            if in_company is not None and in_company.verdict.bad and not blamed:
                words = f"{in_company.message}; in one program with {len(joint.cases) - 1} other cases, alone it passes"
                last = (joint.job, self.worker, self.worker.call(joint.job))
                found = replace(found, outcome=replace(in_company, message=words), expected=joint.expected(), last=last)
            self._enter(found)

    def _judged(self, case: Case) -> _Found:
        """What comes of a case by itself."""
        begin = time.monotonic()
        last: list[tuple[Job, Worker, Answer]] = []

        def call(job: Job, backend: str | None = None, place: Place = HERE) -> Answer:
            who = backend or self.backend
            worker = (self.worker if who == self.backend else self.judging.workers[who]).at(place)
            answer = worker.call(job, max(0.0, worker.timeout - (time.monotonic() - begin)))
            last[:] = [(job, worker, answer)]
            return answer

        try:
            outcome = ask(case, call)
        except Exception as error:  # a harness that fails on a case says so in the report
            outcome = Outcome(Verdict.ERROR, (), f"harness: {type(error).__name__}: {error}")
        self.judging.count(self.backend, programs=1, alone=1)
        return _Found(case, outcome, time.monotonic() - begin, case.expected, last[0] if last else None)

    def _enter(self, found: _Found) -> None:
        """Record it, and keep what a failure can be repeated from."""
        outcome, evidence = found.outcome, self.judging.evidence
        self.judging.record(found.case, self.backend, outcome, found.seconds)
        if outcome.verdict.bad and evidence is not None and found.last is not None:
            limits = {c.name: c.limit for c in outcome.comparisons}
            job, worker, answer = found.last
            keep(
                evidence, found.case.id, self.backend, outcome.message, job, found.expected, limits,
                got=answer.arrays, device=worker.device, threads=worker.threads,
            )


def _heard(case: Case, answer: Answer) -> Outcome | None:
    """The outcome of an answer that is there already; None when there is none."""
    try:
        return ask(case, lambda job, backend=None, place=HERE: answer) if answer.status == "done" else None
    except Exception:  # which it will raise again when it is judged alone
        return None
