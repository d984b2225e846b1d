"""Whether a problem fails, and in the same way as the one before."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from polymodel.errors import PolymodelError
from polymodel_conformance.cases import GraphCase, Outcome, Undecided, ask
from polymodel_conformance.reduction.problem import Problem
from polymodel_conformance.tolerance.verdict import Verdict
from polymodel_conformance.workers.client import HERE, Answer
from polymodel_conformance.workers.jobs import Job

Send = Callable[[Job], Answer]


@final
@dataclass(frozen=True)
class Failure:
    """A problem that fails.

    Attributes:
        problem: what was asked.
        case: as the suite judges it, prepared.
        outcome: what came of it.
    """

    problem: Problem
    case: GraphCase
    outcome: Outcome

    @property
    def sort(self) -> str:
        """What kind of failure it is, whatever the numbers: "values", or an error without its details."""
        if self.outcome.verdict not in (Verdict.ERROR, Verdict.CRASH):
            return "values"
        first = (self.outcome.message.splitlines() or [""])[0]
        return re.sub(r"\d+|'[^']*'|\[[^]]*\]", "", first)[:60]


@final
class Judge:
    """Asks a worker about problems, until the time is over.

    Args:
        send: asks it.
        seconds: how long.
    """

    def __init__(self, send: Send, seconds: float) -> None:
        self._send = send
        self._end = time.monotonic() + seconds
        self.asked = 0

    @property
    def over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() > self._end

    def __call__(self, problem: Problem) -> Failure | None:
        """The failure of a problem; None when it passes, has no verdict, or means nothing.

        Each is asked twice: what the first call leaves behind must not change the second.
        """
        self.asked += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            try:
                case = problem.case()
                case.prepare()
            except (Undecided, PolymodelError, NotImplementedError, ValueError, IndexError, KeyError, TypeError, AssertionError):
                return None
            for _ in range(2):
                outcome = ask(case, lambda job, backend=None, place=HERE: self._send(job))
                if outcome.verdict.bad:
                    return Failure(problem, case, outcome)
        return None

    def same(self, problem: Problem, sort: str) -> Failure | None:
        """The failure of a problem, if it is of a sort."""
        found = self(problem)
        return found if found is not None and found.sort == sort else None
