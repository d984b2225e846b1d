"""Cases that are asked as one: what goes together, that each is judged as it is alone, and what the quick profile costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import pytest

from polymodel_conformance.cases import Case, GraphCase
from polymodel_conformance.corpus.generated import generated
from polymodel_conformance.corpus.layers import layers
from polymodel_conformance.corpus.official import official
from polymodel_conformance.corpus.special import special
from polymodel_conformance.faults import IN_ANSWERS
from polymodel_conformance.judging import judge_all
from polymodel_conformance.levels import forward, gradients
from polymodel_conformance.mutants.table import MUTANTS
from polymodel_conformance.reporting.report import Report
from polymodel_conformance.run import collect
from polymodel_conformance.together import MOST, kind_of, together
from polymodel_conformance.tolerance.verdict import Verdict
from polymodel_conformance.workers.client import Answer, Worker
from polymodel_conformance.workers.jobs import Job

NAMES = ("gemm_linear", "conv_odd", "softmax_negative", "exp", "transpose")


@pytest.fixture(scope="module")
def torch() -> Iterator[Worker]:
    worker = Worker("torch")
    worker.start()
    yield worker
    worker.close()


def cases(make: Callable[[Any], GraphCase | None], *names: str) -> list[GraphCase]:
    by_name = {e.name: e for e in generated()}
    return [case for n in names if (case := make(by_name[f"generated/{n}"])) is not None]


class Between:
    """A worker, and something that changes its answers to requests for several cases."""

    def __init__(self, worker: Worker, change: Callable[[Answer], Answer | None]) -> None:
        self.worker, self.change = worker, change
        self.about, self.timeout, self.device, self.threads = worker.about, worker.timeout, worker.device, worker.threads
        self.cpu_seconds = 0.0
        self.jobs: list[Job] = []

    def at(self, place: object) -> Between:
        return self

    def call(self, job: Job, within: float | None = None) -> Answer:
        self.jobs.append(job)
        answer = self.worker.call(job)
        return (self.change(answer) or answer) if job.options.get("whole") else answer


def judged(worker: Between, found: list[GraphCase], profile: str = "quick") -> Report:
    report = Report(profile, [1], ["torch"])
    judge_all(report, {"torch": cast(Worker, worker)}, cast(list[Case], found), quiet=True)
    return report


@pytest.mark.parametrize("make", [forward.case_of, gradients.case_of])
def test_in_company_each_answer_is_the_one_that_is_given_alone(torch: Worker, make: Callable[[Any], GraphCase | None]) -> None:
    found = cases(make, *NAMES)
    for case in found:
        case.prepare()
    assert len({kind_of(case) for case in found} - {None}) == 1
    joint = together(found)
    answer = torch.call(joint.job)
    assert answer.status == "done", answer.message
    for i, case in enumerate(found):
        own, alone = joint.answer_of(i, answer).arrays, torch.call(case.question).arrays
        assert own.keys() == alone.keys()
        for name in alone:
            np.testing.assert_array_equal(own[name], alone[name], strict=True)
    assert len(joint.expected()) == sum(len(case.expected) for case in found) == len(answer.arrays)


def test_one_program_for_all_that_pass_and_none_of_the_longer_profiles(torch: Worker) -> None:
    plain = Between(torch, lambda answer: None)
    report = judged(plain, cases(forward.case_of, *NAMES))
    assert report.passed
    assert report.requests == {"torch": {"programs": 1, "together": 5, "alone": 0}}
    assert report.cpu["oracle"][1] > 0
    report = judged(plain, cases(forward.case_of, *NAMES), "full")
    assert report.requests == {"torch": {"programs": 5, "together": 0, "alone": 5}}


@pytest.mark.parametrize("fault", IN_ANSWERS, ids=lambda f: f.name)
def test_a_fault_in_company_is_noticed_at_its_case(torch: Worker, fault: Any) -> None:
    """Even one that nothing shows of when the case is asked alone."""

    def spoil(answer: Answer) -> Answer | None:
        own = {n: a for n, a in answer.arrays.items() if n.startswith("case1_")}
        spoiled = fault.spoil(Answer("done", own))
        return None if spoiled is None else Answer("done", {**{n: a for n, a in answer.arrays.items() if n not in own}, **spoiled.arrays})

    several = "swapped" in fault.name
    names = ("exp", "lstm_both_ways") if several else ("exp", "conv_odd")
    report = judged(Between(torch, spoil), cases(forward.case_of, *names, "gemm_linear"))
    verdicts = {r.case.rpartition("/")[2]: r.outcome for r in report.results}
    assert {n for n, o in verdicts.items() if o.verdict.bad} == {names[1]}
    assert "in one program with 2 other cases, alone it passes" in verdicts[names[1]].message


def test_a_request_that_fails_is_repeated_case_by_case(torch: Worker) -> None:
    report = judged(Between(torch, lambda answer: Answer("error", {}, "ValueError", "no")), cases(forward.case_of, *NAMES))
    assert report.passed
    assert report.requests == {"torch": {"programs": 6, "together": 0, "alone": 5}}
    report = judged(Between(torch, lambda answer: Answer("crash", {}, "crash", "SIGSEGV")), cases(forward.case_of, *NAMES))
    assert {r.outcome.verdict for r in report.results} == {Verdict.PASS}
    assert not report.passed
    assert "crash of a program of forward/generated/gemm_linear, forward/generated/conv_odd" in report.problems[0]


def test_what_is_always_asked_alone(torch: Worker) -> None:
    (plain,) = cases(forward.case_of, "exp")
    assert kind_of(plain) is not None
    assert kind_of(plain, {("", "Exp")}) is None
    (layer,) = (forward.case_of(e) for e in layers(training=False) if e.name == "layer/linear")
    assert kind_of(layer) is None
    alone = [c for c in (forward.case_of(e) for e in generated()) if "float64" not in c.dtypes and "_batch_of_none" in c.id]
    for case in alone:
        assert kind_of(case) is None, case.id


def test_the_quick_profile_has_every_operator_and_every_call_that_a_mutant_is_planted_in() -> None:
    entries = (*generated(), *special(), *official(whole=False))
    for level, make in ((1, forward.case_of), (2, gradients.case_of)):
        whole = [case for e in entries if (case := make(e)) is not None]
        quick = {c.id: c for c in collect("quick", [level], ["torch"])}
        assert {o for c in whole for o in c.operators} <= {o for c in quick.values() for o in c.operators}
        other = {c.id for c in collect("quick", [level], ["torch"], seed=1)}
        assert len(other) == len(quick)
        assert 0.2 * len(quick) < len(other - quick.keys())
        planted = {m.case for _, m in MUTANTS if m.case.startswith(("forward/", "gradients/")[level - 1])}
        assert planted <= quick.keys()


def test_the_quick_profile_compiles_few_programs() -> None:
    """What its time is spent on, counted: programs of single calls, and cases that are programs of their own."""
    found = collect("quick", [1, 2, 10], ["torch"])
    assert len(found) <= 1200
    kinds: dict[object, int] = {}
    for case in found:
        kinds[kind_of(case)] = kinds.get(kind_of(case), 0) + 1
    alone = kinds.pop(None)
    assert alone + sum(-(-n // MOST) for n in kinds.values()) <= 0.5 * len(found)
    assert len(collect("quick", [6], ["torch"])) <= 45
