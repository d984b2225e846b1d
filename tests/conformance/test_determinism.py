"""Level 9 notices other bits, in any place, and a sample that depends on its neighbours."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from polymodel_conformance.cases import Case
from polymodel_conformance.levels import cases_of
from polymodel_conformance.levels.determinism import TWO, WHERE, BatchCase, SameBitsCase, ThreadsCase
from polymodel_conformance.tolerance.bits import same_bits
from polymodel_conformance.tolerance.verdict import Verdict
from polymodel_conformance.workers.client import HERE, Answer, Place, Worker
from polymodel_conformance.workers.jobs import Job

Feeds = Mapping[str, np.ndarray]


def _f(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float32)


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (_f(1.0, -0.0), _f(1.0, 0.0)),
        (_f(1.0, np.nan), -_f(-1.0, np.nan)),
        (_f(1.0), np.ones(1)),
        (_f(1.0), _f(1.0)[None]),
        (_f(1.0)[0], np.nextafter(_f(1.0), _f(2.0))[0]),
        ([1.0], _f(1.0)),
    ],
)
def test_bits_are_not_values(got: object, want: np.ndarray) -> None:
    assert same_bits("y", got, want).verdict is Verdict.FAIL
    assert same_bits("y", want.copy(), want).verdict is Verdict.PASS


def found(profile: str, name: str) -> Case:
    return next(c for c in cases_of(9)(profile, ["torch"]) if c.id == f"determinism/{name}")


@pytest.mark.parametrize("word", list(WHERE))
def test_other_bits_are_noticed_wherever_they_come_from(word: str) -> None:
    case = found("full", f"{word}/values_of_sum")
    assert isinstance(case, SameBitsCase)
    asked: list[Place] = []

    def call(job: Job, backend: str | None = None, place: Place = HERE, last: float = 0.0) -> Answer:
        asked.append(place)
        total = job.arrays["feed/i0"].sum(dtype=np.float32)
        return Answer("done", {"o0": np.asarray(total if len(asked) == 1 else np.nextafter(total, np.float32(last)))})

    assert case.judge(lambda job, backend=None, place=HERE: call(job, backend, place, np.inf)).verdict is Verdict.FAIL
    assert asked == [HERE, WHERE[word]]

    def steady(job: Job, backend: str | None = None, place: Place = HERE) -> Answer:
        return Answer("done", {"o0": np.asarray(job.arrays["feed/i0"].sum(dtype=np.float32))})

    assert case.judge(steady).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [((0, 0), Verdict.PASS), ((0, 1), Verdict.FAIL), ((10**5, 10**5), Verdict.FAIL)],
    ids=["right", "other bits the second time", "wrong both times"],
)
def test_two_threads_answer_right_and_the_same_again(answers: tuple[int, ...], verdict: Verdict) -> None:
    case = found("full", "threads/values_of_sum")
    assert isinstance(case, ThreadsCase)
    case.prepare()
    asked: list[Place] = []

    def call(job: Job, backend: str | None = None, place: Place = HERE) -> Answer:
        asked.append(place)
        total = np.float32(job.arrays["feed/i0"].sum(dtype=np.float64))
        return Answer("done", {"o0": np.asarray(total + answers[len(asked) - 1] * np.spacing(total), np.float32)})

    assert case.judge(call).verdict is verdict
    assert asked == [TWO, TWO]


def test_an_error_with_two_threads_is_one() -> None:
    case = found("full", "threads/values_of_sum")
    case.prepare()
    outcome = case.judge(lambda job, backend=None, place=HERE: Answer("error", error="OSError", message="gone"))
    assert outcome.verdict is Verdict.ERROR


def test_an_error_in_the_other_place_is_one() -> None:
    case = found("quick", "process/values_of_sum")

    def call(job: Job, backend: str | None = None, place: Place = HERE) -> Answer:
        return Answer("done", {"o0": _f(1)}) if place == HERE else Answer("error", error="OSError", message="gone")

    outcome = case.judge(call)
    assert outcome.verdict is Verdict.ERROR
    assert "gone" in outcome.message


def test_places_are_processes_of_their_own() -> None:
    worker = Worker("torch")
    try:
        worker.start()
        other = worker.at(Place(process=1))
        other.start()
        assert other is worker.at(Place(process=1))
        assert worker.at(HERE) is worker
        assert worker.at(Place(device="cpu")) is worker
        assert other.process_id not in (None, worker.process_id)
        assert worker.at(Place(threads=2)).threads == 2
    finally:
        worker.close()
    assert other.process_id is None


def honest(feeds: Feeds) -> np.ndarray:
    return np.asarray(feeds["x"].reshape(len(feeds["x"]), -1)[:, :10] * np.float32(2), np.float32)


def mixing(feeds: Feeds) -> np.ndarray:
    y = honest(feeds)
    return np.asarray(y + np.float32(1e-3) * y.mean(axis=0, dtype=np.float32))


def leaking(feeds: Feeds) -> np.ndarray:
    y = honest(feeds)
    return y if np.isfinite(y).all() else np.full_like(y, np.nan)


@pytest.mark.parametrize(
    ("run", "word"), [(honest, ""), (mixing, "other neighbours"), (leaking, "neighbours of NaN")]
)
def test_a_sample_that_depends_on_its_neighbours_is_noticed(
    run: Callable[[Feeds], np.ndarray], word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = found("smoke", "batch/lenet")
    assert isinstance(case, BatchCase)

    def call(job: Job, backend: str | None = None, place: Place = HERE) -> Answer:
        return Answer("done", {"y": run({n.partition("/")[2]: a for n, a in job.arrays.items()})})

    case._expected = {}  # the values themselves are not those of the model
    outcome = case.judge(call)
    assert (outcome.verdict is Verdict.PASS) == (word == "")
    assert word in outcome.message


def test_a_backend_passes() -> None:
    worker = Worker("torch")
    try:
        for name in ("again/training_of_lenet", "batch/lenet"):
            case = found("smoke", name)
            case.prepare()
            outcome = case.judge(lambda job, backend=None, place=HERE: worker.at(place).call(job))
            assert outcome.verdict is Verdict.PASS, outcome.message
            assert len(outcome.comparisons) > 2
    finally:
        worker.close()
