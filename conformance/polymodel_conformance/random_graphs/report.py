"""What came of many random graphs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, final

_ENVIRONMENT = 3


@final
@dataclass
class Found:
    """One kind of failure.

    Attributes:
        key: see known.py.
        graphs: numbers of the graphs that met it.
        verdict: of the first of them.
        message: what was wrong, of the small graph.
        choices: the row that the small graph is built from; empty when it is one call fed with values.
        folder: where its evidence lies.
        reason: why it is expected, if it is.
    """

    key: str
    graphs: list[int]
    verdict: str
    message: str
    choices: Sequence[int]
    folder: str = ""
    reason: str = ""


@final
@dataclass
class RandomReport:
    """What came of a run.

    Attributes:
        graphs: how many were drawn.
        seed: of the run.
        first: number of the first of them.
        judged: number of judgements by (backend, verb, verdict).
        undecided: graphs without a verdict, by reason.
        operators: how often each operator was called in graphs that were judged.
        failures: kinds of failures by key.
        lost: how often the worker of a backend died or had to be stopped.
        versions: of the frameworks, by name.
        unavailable: why a backend did not start.
        problems: of the run itself.
        seconds: how long it took.
    """

    graphs: int
    seed: int
    first: int = 0
    judged: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    undecided: Counter[str] = field(default_factory=Counter)
    operators: Counter[str] = field(default_factory=Counter)
    failures: dict[str, Found] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)
    versions: dict[str, str] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 when all passed or failed as expected, 1 when something failed, 3 when a backend is missing."""
        if self.problems or any(not f.reason for f in self.failures.values()):
            return 1
        return _ENVIRONMENT if self.unavailable else 0

    def summary(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "suite": "random",
            "graphs": self.graphs,
            "seed": self.seed,
            "first": self.first,
            "judged": {" ".join(k): n for k, n in sorted(self.judged.items())},
            "undecided": dict(self.undecided),
            "operators": dict(self.operators.most_common()),
            "failures": [vars(f) for f in self.failures.values()],
            "lost": dict(self.lost),
            "versions": self.versions,
            "unavailable": self.unavailable,
            "problems": self.problems,
            "seconds": round(self.seconds, 1),
            "exit_code": self.exit_code,
        }

    def __str__(self) -> str:
        rate = self.graphs / max(self.seconds, 1e-9)
        what = f"{self.graphs} random graphs of {len(self.operators)} operators, seed {self.seed} from {self.first}"
        lines = [f"{what}, in {self.seconds:.0f} s ({rate:.1f} graphs/s); {sum(self.undecided.values())} undecided"]
        for reason, count in self.undecided.most_common(6):
            lines.append(f"  {count:6} undecided: {reason}")
        for (backend, verb, verdict), count in sorted(self.judged.items()):
            lines.append(f"  {count:6} {backend} {verb}: {verdict}")
        for f in sorted(self.failures.values(), key=lambda f: (bool(f.reason), f.key)):
            what = f"expected: {f.reason}" if f.reason else f"{f.verdict}: {f.message[:300]}"
            lines.append(f"{f.key} (graph {f.graphs[0]}, {len(f.graphs)} graphs): {what}")
        lines += [f"{b}: the worker was lost {n} times" for b, n in sorted(self.lost.items())]
        lines += [f"{n} is missing: {why}" for n, why in self.unavailable.items()]
        return "\n".join([*lines, *self.problems]) + "\n"
