"""The suite as pytest items: ``pytest -p polymodel_conformance.plugin --backend torch --conformance-profile quick``.

Loaded by name only, so that it never meets the options of a project that just has polymodel installed. Every case is an
item `BACKEND::ID`, so -k, -x and --junitxml work as usual. What is not claimed or has no verdict is skipped with the
reason; an expected failure is an xfail, strict as in the runner. Collecting no case fails.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, final

import pytest

from polymodel_conformance.cases import Case, Outcome, Undecided, ask
from polymodel_conformance.judging import claims
from polymodel_conformance.known_failures import known, settle
from polymodel_conformance.levels import LEVELS, PROFILES
from polymodel_conformance.run import collect
from polymodel_conformance.selection import Selection
from polymodel_conformance.tolerance.verdict import Verdict
from polymodel_conformance.workers.client import HERE, Answer, Place, Unavailable, Worker
from polymodel_conformance.workers.jobs import Job


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the suite."""
    group = parser.getgroup("polymodel conformance")
    group.addoption("--backend", action="append", default=[], help="backend to judge; repeatable")
    group.addoption("--conformance-profile", choices=PROFILES, default="quick", help="how much to judge")
    group.addoption("--conformance-level", action="append", type=int, choices=list(LEVELS), help="level; repeatable")
    group.addoption("--conformance-match", default="", help="only cases whose id contains this")


def pytest_configure(config: pytest.Config) -> None:
    """Hold the workers of the session."""
    if config.getoption("--backend"):
        config.pluginmanager.register(_Session(config), "polymodel-conformance")


@final
class _Session:
    """Adds the suite to the collection and ends the workers."""

    def __init__(self, config: pytest.Config) -> None:
        self.backends: list[str] = list(dict.fromkeys(config.getoption("--backend")))
        self.workers = {b: Worker(b) for b in self.backends}
        self.prepared: tuple[Case, str] | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(
        self, session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Put the cases in front of the tests of the folder, before -k selects."""
        levels = config.getoption("--conformance-level") or list(LEVELS)
        profile, match = config.getoption("--conformance-profile"), config.getoption("--conformance-match")
        cases = Selection(match).take(collect(profile, levels, self.backends))
        if not cases:
            raise pytest.UsageError("no conformance case was collected: nothing would be judged")
        folders = {b: Backend.from_parent(session, name=b, path=config.rootpath / b, nodeid=b) for b in self.backends}
        found: list[pytest.Item] = []
        for case in cases:
            for backend in self.backends:
                found.append(ConformanceItem.from_parent(folders[backend], name=case.id, case=case, judge=self))
        items[:] = [*found, *items]

    def pytest_sessionfinish(self) -> None:
        """End the workers."""
        for worker in self.workers.values():
            worker.close()

    def prepare(self, case: Case) -> str:
        """Why a case has no verdict; its oracle runs once for all backends."""
        if self.prepared is None or self.prepared[0] is not case:
            if self.prepared is not None:
                self.prepared[0].release()
            reason = ""
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", RuntimeWarning)
                    case.prepare()
            except Undecided as error:
                reason = error.reason
            self.prepared = (case, reason)
        return self.prepared[1]


@final
class Backend(pytest.Collector):
    """The cases of one backend."""

    def collect(self) -> list[pytest.Item]:
        """They are added by the session."""
        return []


@final
class Failure(Exception):
    """A case that did not pass."""


@final
class ConformanceItem(pytest.Item):
    """One case on one backend."""

    def __init__(self, *, case: Case, judge: _Session, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.case, self.session_state = case, judge

    def runtest(self) -> None:
        """Judge."""
        backend = str(self.parent.name) if self.parent is not None else ""
        worker = self.session_state.workers[backend]
        try:
            about = worker.start()
        except Unavailable as error:
            raise Failure(f"{backend} is not available: {error}") from None
        if not claims(about, self.case):
            pytest.skip("the backend does not claim it")
        reason = self.session_state.prepare(self.case)
        if reason:
            pytest.skip(f"undecided: {reason}")

        def call(job: Job, other: str | None = None, place: Place = HERE) -> Answer:
            return self.session_state.workers[other or backend].at(place).call(job)

        answer = ask(self.case, lambda job, backend=None, place=HERE: call(job, backend, place))
        outcome = settle(self.case.id, answer, known(backend))
        if outcome.verdict in (Verdict.UNCLAIMED, Verdict.NOT_RUN):
            pytest.skip(outcome.message)
        self._report(outcome)

    def _report(self, outcome: Outcome) -> None:
        if outcome.verdict is Verdict.EXPECTED:
            pytest.xfail(outcome.message)
        if outcome.verdict.bad:
            raise Failure("\n".join(_lines(outcome)))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The comparison instead of a traceback."""
        return str(excinfo.value) if isinstance(excinfo.value, Failure) else super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Where it is: nowhere in a file."""
        return self.path, None, f"{self.parent.name if self.parent else ''}::{self.case.id}"


def _lines(outcome: Outcome) -> Iterator[str]:
    yield f"{outcome.verdict.value}: {outcome.message}"
    for c in outcome.comparisons:
        if c.verdict.bad:
            yield (
                f"  {c.name}: {c.rule} score {c.score:.3g} (limit {c.limit:.3g}), rho {c.rho:.3g}, ulp {c.ulp:.3g}, "
                f"max abs {c.max_abs:.3g}, floor {c.sigma:.3g}: {c.detail}"
            )
