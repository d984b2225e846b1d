"""The suite's own score: faults are caught on every backend, what is right passes, and the score counts both."""

from __future__ import annotations

from typing import Any

import pytest

from polymodel.optim.named import OPTIMIZERS as RULES
from polymodel_conformance.mutants.hunt import hunt
from polymodel_conformance.mutants.table import GROUPS, MUTANTS
from polymodel_conformance.reporting.report import Report
from polymodel_conformance.score import scores
from polymodel_conformance.workers.client import Unavailable, Worker

SHARE = {"torch": 1, "tensorflow": 2, "mxnet": 1}
"""Every n-th mutant of each group, so that a backend takes less than a minute; the full profile plants all."""


@pytest.mark.parametrize("backend", list(SHARE))
def test_mutants_are_caught(backend: str) -> None:
    chosen = [m.name for found in GROUPS.values() for m in found[:: SHARE[backend]]]
    worker = Worker(backend)
    try:
        worker.start()
        rows = list(hunt(backend, worker.call, only=chosen if SHARE[backend] > 1 else ()))
    except Unavailable as error:
        pytest.skip(str(error))
    finally:
        worker.close()
    (score,) = scores(rows, [backend])
    assert score.planted >= 60
    assert score.without_effect == 0
    assert score.escaped == ()
    assert not [r for r in rows if r["control"] and not r["caught"]]
    assert {r["mutant"] for r in rows} >= set(chosen)


def test_every_rule_of_every_kind_has_a_mutant() -> None:
    names = [m.name for _, m in MUTANTS]
    assert len(names) == len(set(names)) >= 120
    asked = {m.case.split("/")[1].partition("_")[0] for m in GROUPS["optimizers"]}
    assert asked == set(RULES)
    levels = {m.case.partition("/")[0] for _, m in MUTANTS}
    assert levels == {"forward", "gradients", "optimizers", "randomness", "batch_norm", "trajectory", "checkpoint", "artifact"}


def row(mutant: str, caught: bool, *, effect: bool = True, control: bool = False) -> dict[str, Any]:
    return {
        "mutant": mutant, "group": "g", "control": control, "backend": "b", "caught": caught, "effect": effect,
        "verdict": "fail", "score": "1", "limit": "4",
    }


def test_the_score_counts_what_escapes_what_has_no_effect_and_false_alarms() -> None:
    rows = [row("x", True), row("y", False), row("z", False, effect=False), row("c", True, control=True), row("d", False, control=True)]
    report = Report("full", [1], ["b", "other"], mutants=rows)
    (score,) = report.scores
    assert (score.planted, score.caught, score.without_effect) == (2, 1, 1)
    assert (score.right, score.alarms, score.escaped) == (2, 1, ("y",))
    assert score.json()["kill_rate"] == 0.5
    assert report.exit_code == 1
    text = str(report)
    assert "b: 1 of 2 mutants caught (50.0%) (1 change nothing there); 1 false alarms on 2 right answers (50.0%)" in text
    assert "escaped: y on b" in text
    assert "false alarm: d on b" in text


def test_a_fault_that_changes_nothing_is_no_failure() -> None:
    assert Report("full", [1], ["b"], mutants=[row("z", False, effect=False), row("x", True)]).exit_code == 0
