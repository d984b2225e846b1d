"""`polymodel reduce`: finds the case, asks the backend, makes the failure small and writes its folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from polymodel.errors import BackendUnavailable, ConfigError
from polymodel_conformance.cases import Undecided
from polymodel_conformance.reduction.folder import write
from polymodel_conformance.reduction.judge import Judge
from polymodel_conformance.reduction.problem import Problem, find, read
from polymodel_conformance.reduction.reduce import first_failure, reduce
from polymodel_conformance.workers.client import Unavailable, Worker


@final
@dataclass(frozen=True)
class Reduced:
    """What came of it.

    Attributes:
        case: what was asked for.
        backend: of whom.
        before: calls and given numbers of the problem that failed; None when nothing fails.
        about: of the smallest that fails, as about.json says.
        folder: where it is.
        asked: how many problems were tried.
    """

    case: str
    backend: str
    before: tuple[int, int] | None
    about: Mapping[str, Any]
    folder: Path | None
    asked: int

    @property
    def failed(self) -> bool:
        """Whether there was something to reduce."""
        return self.before is not None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "case": self.case, "backend": self.backend, "verdict": "fail" if self.failed else "pass", "asked": self.asked,
            "before": None if self.before is None else {"calls": self.before[0], "elements": self.before[1]},
            "after": dict(self.about) or None, "folder": None if self.folder is None else str(self.folder),
        }  # fmt: skip

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.case} passes on {self.backend}: nothing to reduce"
        a = self.about
        left = f"{a['calls']} ({', '.join(a['operators'])}) and {a['elements']}"
        lines = [
            f"{self.case} on {self.backend}: {self.before[0]} calls and {self.before[1]} numbers became {left}; {self.asked} tried",
            f"{a['verdict']}: {a['message']}",
            f"python {self.folder}/run.py",
        ]
        if not a["repeats"]:
            lines.append("the file, read again, does not fail: the fault is in the graph as it was built, or in its state")
        return "\n".join(lines)


def run(
    case: str,
    backend: str,
    output: str | os.PathLike[str],
    *,
    inputs: Path | None = None,
    gradients: bool = False,
    seconds: float = 120.0,
    seed: int = 0,
    python: str | None = None,
) -> Reduced:
    """Reduce a failing case.

    Args:
        case: id of a case, "random/SEED/NUMBER", an ONNX file, or a folder with model.onnx and inputs.npz.
        backend: registered name.
        output: folder to write.
        inputs: arrays of a file, .npz; made up when None.
        gradients: of a file, ask for derivatives.
        seconds: when to stop looking.
        seed: of inputs that are made up.
        python: interpreter of the backend's process.

    Raises:
        ConfigError: there is no such case, or it is of a kind that has no graph.
        BackendUnavailable: the backend does not load.
    """
    place = Path(case)
    try:
        asked: list[Problem] = read(place, inputs, gradients, seed) if place.exists() else find(case, backend)
    except Undecided as error:
        raise ConfigError(f"{case} has no verdict: {error.reason}") from None
    worker = Worker(backend, python)
    try:
        try:
            versions = worker.start()["versions"]
        except Unavailable as error:
            raise BackendUnavailable(str(error)) from None
        judge = Judge(worker.call, seconds)
        start = first_failure(asked, judge)
        if start is None:
            return Reduced(case, backend, None, {}, None, judge.asked)
        small = reduce(start, judge)
        folder = Path(output)
        about = write(folder, small, name=case, backend=backend, versions=versions, judge=judge)
        return Reduced(case, backend, start.problem.size[:2], about, folder, judge.asked)
    finally:
        worker.close()
