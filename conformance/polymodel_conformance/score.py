"""The suite's own score: how many planted faults it notices, and how often it calls wrong what is right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final


@final
@dataclass(frozen=True)
class Score:
    """What came of the mutants on one backend.

    Attributes:
        backend: name.
        planted: faults that changed at least one bit of an answer, or a file.
        caught: of these.
        without_effect: faults that changed nothing there, which therefore do not count.
        right: unchanged cases and harmless changes, on a backend that is held to be right.
        alarms: of these, how many did not pass.
        escaped: names of the faults that were not noticed.
        groups: planted and caught by what the faults are about.
    """

    backend: str
    planted: int
    caught: int
    without_effect: int
    right: int
    alarms: int
    escaped: tuple[str, ...]
    groups: Mapping[str, tuple[int, int]]

    @property
    def kill_rate(self) -> float:
        """Share of the planted faults that were noticed, 0 to 1; 0 when none was planted."""
        return self.caught / self.planted if self.planted else 0.0

    @property
    def alarm_rate(self) -> float:
        """Share of what is right that did not pass, 0 to 1."""
        return self.alarms / self.right if self.right else 0.0

    def json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "planted": self.planted,
            "caught": self.caught,
            "kill_rate": round(self.kill_rate, 4),
            "without_effect": self.without_effect,
            "right": self.right,
            "false_alarms": self.alarms,
            "false_alarm_rate": round(self.alarm_rate, 4),
            "escaped": list(self.escaped),
            "groups": {g: {"planted": p, "caught": c} for g, (p, c) in self.groups.items()},
        }

    def __str__(self) -> str:
        silent = f" ({self.without_effect} change nothing there)" if self.without_effect else ""
        return (
            f"{self.backend}: {self.caught} of {self.planted} mutants caught ({self.kill_rate:.1%}){silent}; "
            f"{self.alarms} false alarms on {self.right} right answers ({self.alarm_rate:.1%})"
        )


def scores(rows: Iterable[Mapping[str, Any]], backends: Sequence[str]) -> list[Score]:
    """The score of each backend that mutants were planted on.

    Args:
        rows: what `mutants.hunt` yields.
        backends: in the order of the report.
    """
    every = list(rows)
    return [_score(b, own) for b in backends if (own := [r for r in every if r["backend"] == b])]


def _score(backend: str, rows: Sequence[Mapping[str, Any]]) -> Score:
    right = [r for r in rows if r["control"]]
    planted = [r for r in rows if not r["control"] and r["effect"]]
    groups: dict[str, tuple[int, int]] = {}
    for r in planted:
        number, caught = groups.get(r["group"], (0, 0))
        groups[r["group"]] = number + 1, caught + bool(r["caught"])
    return Score(
        backend,
        planted=len(planted),
        caught=sum(r["caught"] for r in planted),
        without_effect=sum(not r["control"] and not r["effect"] for r in rows),
        right=len(right),
        alarms=sum(not r["caught"] for r in right),
        escaped=tuple(r["mutant"] for r in planted if not r["caught"]),
        groups=groups,
    )
