"""Schedules against torch.optim.lr_scheduler, and their refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from polymodel.errors import ConfigError
from polymodel.optim import Constant, Cosine, Schedule, Step, Warmup

S = torch.optim.lr_scheduler


def theirs(make: Callable[[torch.optim.Optimizer], Any], steps: int) -> list[float]:
    """Learning rates that torch uses, from a rate of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def sequence(o: torch.optim.Optimizer) -> Any:
    warmup = S.LinearLR(o, start_factor=0.25, total_iters=4)
    return S.SequentialLR(o, [warmup, S.CosineAnnealingLR(o, T_max=8)], milestones=[4])


@pytest.mark.filterwarnings("ignore:The epoch parameter in .scheduler.step:UserWarning")  # torch's own SequentialLR
@pytest.mark.parametrize(
    ("schedule", "make"),
    [
        (Constant(), lambda o: S.ConstantLR(o, factor=1.0)),
        (Step(every=3, gamma=0.5), lambda o: S.StepLR(o, step_size=3, gamma=0.5)),
        (Cosine(length=12), lambda o: S.CosineAnnealingLR(o, T_max=12)),
        (Cosine(length=12, final=0.1), lambda o: S.CosineAnnealingLR(o, T_max=12, eta_min=0.1)),
        (Warmup(length=4, start=0.25, then=Cosine(length=8)), sequence),
    ],
    ids=["constant", "step", "cosine", "cosine with a floor", "warmup"],
)
def test_against_torch(schedule: Schedule, make: Callable[[torch.optim.Optimizer], Any]) -> None:
    assert [schedule.factor(t) for t in range(12)] == pytest.approx(theirs(make, 12), rel=1e-9, abs=1e-12)


def test_the_end_stays() -> None:
    assert Cosine(length=3, final=0.2).factor(100) == pytest.approx(0.2)
    assert Warmup(length=2).factor(100) == 1.0


def test_parts_of_an_epoch_count() -> None:
    assert Warmup(length=2, start=0.0).factor(0.5) == 0.25
    assert Step(every=1).factor(0.999) == 1.0


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Step(every=0), "every must be a finite number above 0"),
        (lambda: Cosine(length=-1), "length"),
        (lambda: Cosine(length=2, final=2.0), r"final must be in \[0, 1\]"),
        (lambda: Cosine(length=2, unit="day"), "unit must be 'step' or 'epoch', received 'day'"),  # type: ignore[arg-type]
        (lambda: Warmup(length=2, then=Cosine(length=2, unit="step")), "give both the same unit"),
    ],
)
def test_impossible_values(make: Callable[[], Schedule], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        make()
