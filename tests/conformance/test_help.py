"""A thread that has no more to do helps a backend that has much left, in a second process."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from polymodel_conformance import judging
from polymodel_conformance.cases import Case
from polymodel_conformance.levels.special import cases
from polymodel_conformance.reporting.report import Report
from polymodel_conformance.tolerance.verdict import Verdict
from polymodel_conformance.workers.client import Place, Worker
from polymodel_conformance.workers.line import Line

HELPING = Place(process=-1)


@pytest.fixture
def torch() -> Iterator[Worker]:
    worker = Worker("torch")
    worker.start()
    yield worker
    worker.close()


@pytest.fixture
def found() -> list[Case]:
    return list(cases("full", ("torch",)))


def judged(worker: Worker, found: list[Case]) -> Report:
    report = Report("full", [12], ["torch"])
    judging.judge_all(report, {"torch": worker}, found, quiet=True, partial=True)
    return report


def test_two_processes_judge_each_case_once(torch: Worker, found: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr(judging, "_WORTH", 2)
    report = judged(torch, found)
    assert [r.case for r in report.results] == [c.id for c in found]
    assert {r.outcome.verdict for r in report.results} <= {Verdict.PASS, Verdict.EXPECTED}
    helper = torch.at(HELPING)
    assert helper.process_id is None  # it is gone when there is no more to do
    assert 0 < helper.cpu_seconds < torch.cpu_seconds
    spent = sum(report.cpu["torch"].values())
    assert spent <= torch.cpu_seconds  # nothing is counted twice


@pytest.mark.parametrize(("cores", "worth"), [(1, 2), (2, 10_000)])
def test_no_second_process_without_an_idle_core_or_for_a_few_requests(
    torch: Worker, found: list[Case], cores: int, worth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    monkeypatch.setattr(judging, "_WORTH", worth)
    report = judged(torch, found[:40])
    assert len(report.results) == 40
    assert torch.at(HELPING).cpu_seconds == 0


def test_a_second_process_that_does_not_start_costs_nothing(
    torch: Worker, found: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr(judging, "_WORTH", 2)
    monkeypatch.setattr(torch.at(HELPING), "_python", "/no/such/python")
    report = judged(torch, found[:60])
    assert len(report.results) == 60
    assert {r.outcome.verdict for r in report.results} <= {Verdict.PASS, Verdict.EXPECTED}


def test_a_line_has_two_ends_and_says_when_there_is_no_more() -> None:
    line: Line[int] = Line()
    for number in range(4):
        line.put(number)
    assert [line.take(), line.take(last=True), line.take()] == [0, 3, 1]
    waiting: list[int | None] = []
    threads = [threading.Thread(target=lambda: waiting.append(line.take())) for _ in range(3)]
    for thread in threads:
        thread.start()
    line.close()
    for thread in threads:
        thread.join(10)
    assert sorted(waiting, key=str) == [2, None, None]
    assert len(line) == 0
