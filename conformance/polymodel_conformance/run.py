"""Running the suite: collects cases, computes what should come out once, and asks every backend in its own process.

While the workers compute, the oracle goes on with the next cases: one thread prepares, one per backend waits and compares.
"""

from __future__ import annotations

import os
import platform
import queue
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import onnx

from polymodel import __version__
from polymodel.carriers import carrier
from polymodel_conformance import cache
from polymodel_conformance.baseline import against, read
from polymodel_conformance.calibration import calibration
from polymodel_conformance.cases import Case, Outcome, Undecided, ask
from polymodel_conformance.client import HERE, MEMORY, Answer, Place, Unavailable, Worker
from polymodel_conformance.devices import obstacle
from polymodel_conformance.evidence import keep
from polymodel_conformance.jobs import Job
from polymodel_conformance.journal import Journal
from polymodel_conformance.known_failures import AGAIN, known, settle
from polymodel_conformance.levels import LEVELS, PROFILES, WHOLE, cases_of
from polymodel_conformance.progress import Progress
from polymodel_conformance.report import Report, Result
from polymodel_conformance.selection import Selection, UsageError
from polymodel_conformance.verdict import Verdict

ALL = Selection()
DRAWS = 3
"""How often the exhaustive profile draws."""
_DRAWN = (1, 2, 3, 5, 6, 10)  # levels whose cases have numbers that are drawn
_AHEAD = 4  # cases prepared before the slowest backend took them


def run(
    backends: Sequence[str],
    profile: str = "quick",
    levels: Sequence[int] | None = None,
    report_dir: str | os.PathLike[str] | None = None,
    *,
    pythons: Mapping[str, str] | None = None,
    device: str = "cpu",
    selection: Selection = ALL,
    seed: int = 0,
    mutants: bool | None = None,
    resume: bool = False,
    baseline: str | os.PathLike[str] | None = None,
    timeout: float = 300.0,
    memory: float = MEMORY,
    quiet: bool | None = None,
) -> Report:
    """Judge backends.

    Args:
        backends: registered names.
        profile: "smoke" (well under a minute), "quick" (minutes), "full" (all tests of the standard, 20 steps) or "exhaustive"
            (50 steps, and everything that is drawn is drawn three times).
        levels: numbers from 0 to 12; all when None.
        report_dir: where report.json, junit.xml and index.html go; none are written when None.
        pythons: interpreter for a backend's worker, by name.
        device: where the programs run.
        selection: which part of the cases.
        seed: of everything that is drawn; the standard's own tests have fixed inputs, their cotangents are drawn.
        mutants: also plant known faults and see that each is caught, which is the suite's own score; None does so at level 0 of
            the full profile.
        resume: go on with the run that report_dir is of, if it was interrupted.
        baseline: report.json of an older run; what became worse since fails the run.
        timeout: seconds that one case may take before its worker counts as hung.
        memory: bytes that one worker may hold. A worker beyond time or memory is ended and started again; its case
            has the blame and the run goes on.
        quiet: no progress; by default when standard error is no terminal.

    Returns:
        The report; `report.exit_code` is 0 when all passed, 1 when something failed, 3 when a backend is missing.

    Raises:
        UsageError: a backend, profile or level that does not exist, a run that cannot be continued, no older report.
    """
    chosen = _check(backends, profile, levels)
    old = None if baseline is None else read(Path(baseline))
    report = Report(profile, chosen, list(backends), selection=str(selection), seed=seed)
    journal = None
    if report_dir is not None:
        asked = {"profile": profile, "levels": chosen, "backends": list(backends), "selection": str(selection)}
        journal = Journal(Path(report_dir), {**asked, "seed": seed, "device": device}, resume)
    elif resume:
        raise UsageError("to go on with a run, name the folder of its report")
    begin = time.monotonic()
    workers = {b: Worker(b, (pythons or {}).get(b), device, timeout, memory=memory) for b in backends}
    try:
        for name, worker in workers.items():
            try:
                report.environment.setdefault("backends", {})[name] = dict(worker.start())
            except Unavailable as error:
                report.unavailable[name] = str(error)
        _describe(report, device)
        evidence = None if report_dir is None else Path(report_dir) / "failures"
        ready = {n: w for n, w in workers.items() if n not in report.unavailable}
        if ready:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # float64 overflows are values here, not accidents
                cases = selection.take(collect(profile, chosen, tuple(ready), seed))
                judge_all(report, ready, cases, quiet, selection.partial, evidence, journal)
            whole = profile in WHOLE and 0 in chosen and not selection.partial
            if whole if mutants is None else mutants:
                report.mutants = _planted(ready)
    finally:
        for worker in workers.values():
            worker.close()
        if journal is not None:
            journal.close()
        cache.trim()
    if old is not None:
        report.baseline = against(Path(str(baseline)), report, old, whole=not selection.partial)
    for entry in report.environment.get("backends", {}).values():
        entry.pop("operators", None)
    report.seconds = time.monotonic() - begin
    if report_dir is not None:
        report.write(Path(report_dir))
    return report


def _planted(workers: Mapping[str, Worker]) -> list[dict[str, Any]]:
    from polymodel_conformance.mutants.hunt import hunt

    found: list[dict[str, Any]] = []
    for name, worker in workers.items():
        found += hunt(name, worker.call, lambda case, about=worker.about: claims(about, case))  # type: ignore[misc]
    return found


def collect(profile: str, levels: Sequence[int], backends: Sequence[str], seed: int = 0) -> list[Case]:
    """The cases of some levels, in order; of the exhaustive profile, then those that are drawn again."""
    found = [c for level in levels for c in cases_of(level)(profile, backends, seed)]
    for draw in range(1, DRAWS) if profile == "exhaustive" else ():
        for level in (n for n in levels if n in _DRAWN):
            for case in cases_of(level)("full", backends, seed + draw):
                if not case.id.startswith("forward/") or "/generated/" in case.id:  # the standard's inputs are fixed
                    case.id = f"{case.id}{AGAIN}{draw}"
                    found.append(case)
    return found


def _check(backends: Sequence[str], profile: str, levels: Sequence[int] | None) -> list[int]:
    from polymodel.registry import backends as registered

    if not backends:
        raise UsageError(f"name a backend; registered are {', '.join(registered())}")
    for name in backends:
        if name not in registered():
            raise UsageError(f"unknown backend {name!r}; registered are {', '.join(registered())}")
    if profile not in PROFILES:
        raise UsageError(f"unknown profile {profile!r}; expected one of {', '.join(PROFILES)}")
    chosen = sorted(set(LEVELS if levels is None else levels))
    for level in chosen:
        if level not in LEVELS:
            raise UsageError(f"unknown level {level!r}; expected numbers from {min(LEVELS)} to {max(LEVELS)}")
    return chosen


def _describe(report: Report, device: str) -> None:
    report.environment.update(
        {
            "polymodel": __version__,
            "python": sys.version.split()[0],
            "numpy": np.__version__,
            "onnx": onnx.__version__,
            "machine": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "device": device,
            "threads": 1,
            "calibration": calibration().get("command", ""),
        }
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


@final
@dataclass(frozen=True)
class _Item:
    """A prepared case on its way to a backend's thread; the last backend to finish drops what was prepared."""

    case: Case
    left: list[str]


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
    reasons = {b: known(b) for b in workers}
    ids = {c.id for c in cases}
    for backend, listed in reasons.items() if report.profile in WHOLE and not partial else ():
        report.problems += [f"known/{backend}.txt lists {i!r}, which no case has" for i in listed if i not in ids]
    lanes: dict[str, queue.Queue[_Item | None]] = {b: queue.Queue(_AHEAD) for b in workers}
    lock = threading.Lock()
    done = {} if journal is None else journal.done
    with Progress(len(cases) * len(workers), quiet) as progress:

        def enter(result: Result) -> None:
            report.results.append(result)
            progress.advance(result.case, result.outcome.verdict)

        def record(case: Case, backend: str, outcome: Outcome, seconds: float) -> None:
            settled = settle(case.id, outcome, reasons[backend], strict=report.seed == 0)
            double = "float64" in case.dtypes
            operator = next(iter(case.operators)) if len(case.operators) == 1 else ""
            result = Result(case.id, case.level, case.family, backend, settled, seconds, double, operator)
            with lock:
                enter(result)
                if journal is not None:
                    journal.add(result)

        threads = [threading.Thread(target=_lane, args=(b, workers, lanes[b], record, evidence), daemon=True) for b in workers]
        for thread in threads:
            thread.start()
        for case in cases:
            kept = [done[case.id, b] for b in workers if (case.id, b) in done]
            with lock:
                for result in kept:
                    enter(result)
                    if result.outcome.verdict is Verdict.UNDECIDED:
                        report.undecided[case.id] = result.outcome.message
            left = [b for b in workers if (case.id, b) not in done]
            asked = []
            for backend in left:
                if case.cuda and (why := obstacle(workers[backend])):
                    record(case, backend, Outcome(Verdict.NOT_RUN, (), why), 0.0)
                elif not claims(workers[backend].about, case):
                    record(case, backend, Outcome(Verdict.UNCLAIMED, (), "the backend does not claim it"), 0.0)
                else:
                    asked.append(backend)
            if not asked:
                continue
            reason = _prepare(case)
            if reason:
                report.undecided[case.id] = reason
                for backend in asked:
                    record(case, backend, Outcome(Verdict.UNDECIDED, (), reason), 0.0)
                continue
            item = _Item(case, list(asked))
            for backend in asked:
                lanes[backend].put(item)
        for backend in workers:
            lanes[backend].put(None)
        for thread in threads:
            thread.join()
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


def _prepare(case: Case) -> str:
    """Why a case has no verdict; empty when it can be judged."""
    try:
        case.prepare()
    except Undecided as error:
        return error.reason
    except Exception as error:  # an oracle that fails must not end the run, and must not look like a pass
        return f"the oracle failed: {type(error).__name__}: {error}"
    return ""


def _lane(
    backend: str,
    workers: Mapping[str, Worker],
    items: queue.Queue[_Item | None],
    record: Callable[[Case, str, Outcome, float], None],
    evidence: Path | None,
) -> None:
    """Judge the cases of one backend as they are prepared."""

    last: list[tuple[Job, Worker, Answer]] = []
    begin = time.monotonic()

    def call(job: Job, other: str | None = None, place: Place = HERE) -> Answer:
        worker = workers[other or backend].at(place)
        answer = worker.call(job, max(0.0, worker.timeout - (time.monotonic() - begin)))
        last[:] = [(job, worker, answer)]
        return answer

    while (item := items.get()) is not None:
        begin = time.monotonic()
        last.clear()
        try:
            outcome = ask(item.case, lambda job, backend=None, place=HERE: call(job, backend, place))
        except Exception as error:  # a harness that fails on a case says so in the report
            outcome = Outcome(Verdict.ERROR, (), f"harness: {type(error).__name__}: {error}")
        record(item.case, backend, outcome, time.monotonic() - begin)
        if outcome.verdict.bad and evidence is not None and last:
            limits = {c.name: c.limit for c in outcome.comparisons}
            job, worker, answer = last[0]
            keep(
                evidence, item.case.id, backend, outcome.message, job, item.case.expected, limits,
                got=answer.arrays, device=worker.device, threads=worker.threads,
            )
        item.left.remove(backend)
        if not item.left:
            item.case.release()
