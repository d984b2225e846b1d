"""Schedules against torch.optim.lr_scheduler, and their refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from polymodel.errors import ConfigError
from polymodel.optim import (
    Chain,
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    InverseSqrt,
    MultiStep,
    OneCycle,
    Polynomial,
    Schedule,
    Step,
    Warmup,
    get_schedule,
)
from polymodel.optim.named import describe

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


def three(o: torch.optim.Optimizer) -> Any:
    parts = [S.LinearLR(o, start_factor=0.25, total_iters=2), S.ConstantLR(o, 1.0), S.ExponentialLR(o, 0.5)]
    return S.SequentialLR(o, parts, milestones=[2, 5])


def one_cycle(strategy: str) -> Callable[[torch.optim.Optimizer], Any]:
    return lambda o: S.OneCycleLR(
        o, max_lr=1.0, total_steps=12, pct_start=0.5, anneal_strategy=strategy, div_factor=10.0, final_div_factor=100.0,
        cycle_momentum=False,
    )


@pytest.mark.filterwarnings("ignore:The epoch parameter in .scheduler.step:UserWarning")  # torch's own SequentialLR
@pytest.mark.parametrize(
    ("schedule", "make"),
    [
        (Constant(), lambda o: S.ConstantLR(o, factor=1.0)),
        (Step(every=3, gamma=0.5), lambda o: S.StepLR(o, step_size=3, gamma=0.5)),
        (Cosine(length=12), lambda o: S.CosineAnnealingLR(o, T_max=12)),
        (Cosine(length=12, final=0.1), lambda o: S.CosineAnnealingLR(o, T_max=12, eta_min=0.1)),
        (Warmup(length=4, start=0.25, then=Cosine(length=8)), sequence),
        (MultiStep((3, 7, 8), gamma=0.5), lambda o: S.MultiStepLR(o, [3, 7, 8], gamma=0.5)),
        (Exponential(0.9), lambda o: S.ExponentialLR(o, 0.9)),
        (Polynomial(length=8, power=1.5), lambda o: S.PolynomialLR(o, total_iters=8, power=1.5)),
        (CosineRestarts(length=3), lambda o: S.CosineAnnealingWarmRestarts(o, T_0=3)),
        (CosineRestarts(3, 2.0, final=0.1), lambda o: S.CosineAnnealingWarmRestarts(o, T_0=3, T_mult=2, eta_min=0.1)),
        (OneCycle(length=11, peak=5, start_div=10.0, final_div=100.0), one_cycle("cos")),
        (OneCycle(length=11, peak=5, start_div=10.0, final_div=100.0, curve="linear"), one_cycle("linear")),
        (Chain((Warmup(length=2, start=0.25), Constant(), Exponential(0.5)), (2, 5)), three),
    ],
    ids=lambda v: v.name if isinstance(v, Schedule) else "",
)
def test_against_torch(schedule: Schedule, make: Callable[[torch.optim.Optimizer], Any]) -> None:
    assert [schedule.factor(t) for t in range(12)] == pytest.approx(theirs(make, 12), rel=1e-9, abs=1e-12)


def test_against_keras_by_its_formula() -> None:
    """keras.optimizers.schedules.CosineDecayRestarts: t_mul 2, m_mul 0.5, alpha 0; PolynomialDecay to 0.25."""
    found = [CosineRestarts(2, 2.0, decay=0.5).factor(t) for t in (0, 1, 2, 4, 6)]
    assert found == pytest.approx([1.0, 0.5, 0.5, 0.25, 0.25])
    assert Polynomial(length=4, power=2.0, final=0.25).factor(2) == pytest.approx(0.25 + 0.75 * 0.25)


def test_the_paper_of_attention() -> None:
    """d_model^-0.5 min(n^-0.5, n warmup^-1.5) up to its factor."""
    for n in (1, 50, 100, 101, 5000):
        want = min(n**-0.5, n * 100**-1.5) / (100**-0.5)
        assert InverseSqrt(length=100).factor(n - 1) == pytest.approx(want)


def test_a_late_restart_does_not_count_up_to_it() -> None:
    assert CosineRestarts(length=0.5, unit="step").factor(1e9) == 1.0


@pytest.mark.parametrize(
    "schedule",
    [MultiStep((3, 7)), OneCycle(9, 3), Chain((Warmup(2), Chain((Constant(), Exponential(0.5)), (1,))), (2,))],
    ids=lambda s: s.name,
)
def test_words_and_back(schedule: Schedule) -> None:
    assert get_schedule(describe(schedule)) == schedule


def test_the_end_stays() -> None:
    assert OneCycle(length=3, peak=1).factor(100) == pytest.approx(1 / 25e4)
    assert Polynomial(length=3).factor(100) == 0.0
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
        (lambda: MultiStep((3, 1)), "milestones ascend, received"),
        (lambda: MultiStep(()), "milestones is a list of times"),
        (lambda: CosineRestarts(2, growth=0.5), "growth is 1 or more"),
        (lambda: OneCycle(length=2, peak=2), "peak lies before length"),
        (lambda: OneCycle(length=2, peak=1, curve="sine"), "curve is 'cosine' or 'linear'"),  # type: ignore[arg-type]
        (lambda: Chain((Constant(),), (1,)), "1 parts need 0 milestones, received 1"),
        (lambda: Chain((Constant(), Step(1, unit="step")), (1,)), "give both the same unit"),
        (lambda: Warmup(length=2, then=Cosine(length=2, unit="step")), "give both the same unit"),
    ],
)
def test_impossible_values(make: Callable[[], Schedule], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        make()
