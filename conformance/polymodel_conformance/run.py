"""Running the suite: collects cases, computes what should come out once, and asks every backend in its own process.

The judging itself is in judging.py.
"""

from __future__ import annotations

import os
import platform
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from polymodel import __version__
from polymodel_conformance import cache
from polymodel_conformance.cases import Case
from polymodel_conformance.judging import claims, judge_all
from polymodel_conformance.known_failures import AGAIN
from polymodel_conformance.levels import LEVELS, PROFILES, WHOLE, cases_of
from polymodel_conformance.reporting.baseline import against, read
from polymodel_conformance.reporting.journal import Journal
from polymodel_conformance.reporting.report import Report
from polymodel_conformance.selection import Selection, UsageError
from polymodel_conformance.tolerance.calibration import calibration
from polymodel_conformance.workers.client import MEMORY, Unavailable, Worker

ALL = Selection()
DRAWS = 3
"""How often the exhaustive profile draws."""
_DRAWN = (1, 2, 3, 5, 6, 10)  # levels whose cases have numbers that are drawn


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
    older = None if baseline is None else read(Path(baseline))
    report = Report(profile, chosen, list(backends), selection=str(selection), seed=seed)
    journal = None
    if report_dir is not None:
        asked = {"profile": profile, "levels": chosen, "backends": list(backends), "selection": str(selection)}
        journal = Journal(Path(report_dir), {**asked, "seed": seed, "device": device}, resume)
    elif resume:
        raise UsageError("to go on with a run, name the folder of its report")
    begin, before = time.monotonic(), time.process_time()
    workers = {b: Worker(b, (pythons or {}).get(b), device, timeout, memory=memory) for b in backends}
    try:
        with ThreadPoolExecutor(len(workers)) as pool:
            started = {name: pool.submit(worker.start) for name, worker in workers.items()}
            cases = collect(profile, chosen, tuple(workers), seed)  # while the frameworks load
        for name, about in started.items():
            try:
                report.environment.setdefault("backends", {})[name] = dict(about.result())
            except Unavailable as error:
                report.unavailable[name] = str(error)
        _describe(report, device)
        evidence = None if report_dir is None else Path(report_dir) / "failures"
        ready = {n: w for n, w in workers.items() if n not in report.unavailable}
        if ready:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # float64 overflows are values here, not accidents
                if report.unavailable:
                    cases = collect(profile, chosen, tuple(ready), seed)
                judge_all(report, ready, selection.take(cases), quiet, selection.partial, evidence, journal)
            whole = profile in WHOLE and 0 in chosen and not selection.partial
            if whole if mutants is None else mutants:
                report.mutants = _planted(ready)
    finally:
        spent = time.process_time() + sum(worker.cpu_seconds for worker in workers.values())
        report.environment["cpu_seconds"] = round(spent - before, 1)
        for worker in workers.values():
            worker.close()
        if journal is not None:
            journal.close()
        cache.trim()
    if older is not None:
        report.baseline = against(older, report, selection.partial)
    for entry in report.environment.get("backends", {}).values():
        entry.pop("operators", None)
        entry.pop("host", None)
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
