"""The test suite of the onnx package on Apache MXNet: how many pass, and that every miss is listed with its reason."""

from __future__ import annotations

import pytest

from polymodel_conformance.official.known import expected
from polymodel_conformance.official.report import OfficialRun

BACKEND = "mxnet"
pytestmark = pytest.mark.timeout(900)  # one run of 2033 tests comes before the first of these


def test_the_corpus_is_the_one_that_the_lists_belong_to(run: OfficialRun) -> None:
    corpus = run.corpora[BACKEND]
    if not expected().installed:
        pytest.skip(run.note)
    assert (len(corpus.names), corpus.hash) == (2033, expected().hash)
    assert len(run.reports[BACKEND].results) == 2033


def test_every_core_test_passes(run: OfficialRun) -> None:
    report = run.reports[BACKEND]
    assert [r for r in report.misses if r.name in report.core] == []
    assert len(report.core_passed) == 1186


def test_most_tests_pass(run: OfficialRun) -> None:
    assert len(run.reports[BACKEND].passed) >= 1980


def test_few_core_tests_run_on_the_host(run: OfficialRun) -> None:
    by_host = {r.name: r.host for r in run.reports[BACKEND].core_passed if r.host}
    assert len(by_host) <= 80, by_host


def test_no_test_kills_its_process(run: OfficialRun) -> None:
    assert [r for r in run.reports[BACKEND].misses if r.outcome in ("crash", "hang")] == []


def test_every_miss_is_listed_with_its_reason(run: OfficialRun) -> None:
    assert run.problems == []
    assert run.exit_code == 0


def test_random_streams_are_missed_by_their_values_only(run: OfficialRun) -> None:
    random = {r.name: r for r in run.reports[BACKEND].misses if "bernoulli" in r.name or "dropout" in r.name}
    assert len(random) == 10
    assert {r.outcome for r in random.values()} == {"fail"}, random
