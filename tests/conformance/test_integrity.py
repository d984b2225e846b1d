"""Level 0: what it judges passes as it is, and every way to weaken the suite makes it fail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from polymodel_conformance.cases import Case, Outcome, Undecided
from polymodel_conformance.corpus import digest
from polymodel_conformance.corpus.layers import layers
from polymodel_conformance.corpus.losses import with_losses
from polymodel_conformance.faults import IN_ANSWERS
from polymodel_conformance.levels import integrity
from polymodel_conformance.levels.fewest import FEWEST
from polymodel_conformance.tolerance.compare import Expected, compare
from polymodel_conformance.tolerance.verdict import Comparison, Verdict
from polymodel_conformance.workers.client import HERE, Answer, Place, Worker
from polymodel_conformance.workers.jobs import Job


@pytest.fixture(scope="module")
def torch() -> Iterator[Worker]:
    worker = Worker("torch")
    yield worker
    worker.close()


def judged(case: Case, worker: Worker | None = None) -> Outcome:
    def call(job: Job, backend: str | None = None, place: Place = HERE) -> Answer:
        assert worker is not None, "this case asks nobody"
        return worker.call(job)

    case.prepare()
    return case.judge(call)


def by_id(part: str) -> list[Case]:
    return [c for c in integrity.cases("smoke", ["torch"]) if c.id.startswith(f"integrity/{part}")]


def test_every_fault_is_planted_in_a_true_answer_and_noticed(torch: Worker) -> None:
    found = [judged(c, torch) for c in by_id("spoiled")]
    assert [o.verdict for o in found] == [Verdict.PASS] * len(integrity.SPOILED)
    assert {f.name for f in IN_ANSWERS} | {"true answer"} == {c.name for o in found for c in o.comparisons}


def test_made_answers_are_told_apart() -> None:
    (case,) = by_id("made")
    outcome = judged(case)
    assert outcome.verdict is Verdict.PASS, outcome.message
    assert len(outcome.comparisons) > 100


def test_a_comparer_that_lets_everything_pass_is_found_out(torch: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    def blind(name: str, got: object, expected: Expected, limit: float) -> Comparison:
        return Comparison(name, Verdict.PASS, expected.rule)

    monkeypatch.setattr("polymodel_conformance.cases.compare", blind)
    for case in (*by_id("spoiled"), *by_id("made")):
        outcome = judged(case, torch)
        assert outcome.verdict is Verdict.FAIL
        assert "NaN" in outcome.message


def test_a_comparer_that_replaces_nan_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = compare

    def kind(name: str, got: object, expected: Expected, limit: float) -> Comparison:
        if isinstance(got, np.ndarray) and got.dtype.kind == "f":
            got = np.nan_to_num(got, posinf=9.0, neginf=-9.0)
            expected = replace(expected, value=np.nan_to_num(expected.value, posinf=9.0, neginf=-9.0))
        return honest(name, got, expected, limit)

    monkeypatch.setattr("polymodel_conformance.cases.compare", kind)
    outcome = judged(by_id("made")[0])
    assert "a number where NaN belongs" in outcome.message


def test_a_level_that_collects_too_few_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    fewest = FEWEST["smoke"]
    case = integrity.CountCase("integrity/count", 3, "smoke", fewest[3])
    assert judged(case).verdict is Verdict.PASS
    outcome = judged(replace(case, fewest=fewest[3] + 1000, _found=[]))
    assert outcome.verdict is Verdict.FAIL
    assert "1008 or more" in outcome.message


@pytest.mark.parametrize("part", [p for p in digest.PARTS if p not in integrity.STANDARD])
def test_the_corpus_is_the_committed_one(part: str) -> None:
    outcome = judged(integrity.CorpusCase("integrity/corpus", part))
    assert outcome.verdict is Verdict.PASS, outcome.message


def test_another_corpus_has_another_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = layers(training=False)
    plain = digest.digest(entries)
    assert digest.digest(entries[:-1]) != plain
    assert digest.digest([replace(entries[0], name="layer/other"), *entries[1:]]) != plain
    other = {n: a + np.float32(0.01) for n, a in entries[0].draw(0).items()}
    assert digest.digest([replace(entries[0], draw=lambda seed: other), *entries[1:]]) != plain
    monkeypatch.setitem(digest.PARTS, "losses", lambda: with_losses()[1:])
    outcome = judged(integrity.CorpusCase("integrity/corpus", "losses"))
    assert outcome.verdict is Verdict.FAIL
    assert digest.WAY_OUT in outcome.message


def test_the_tests_of_another_onnx_have_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "recorded", lambda: {"onnx": "0.1", "standard": ""})
    with pytest.raises(Undecided, match=r"onnx 0\.1"):
        integrity.CorpusCase("integrity/corpus", "standard").prepare()
