"""A worker that crashes, hangs or does not load is a result, and the next job is served."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import numpy as np
import pytest

from polymodel_conformance.corpus.generated.row import build
from polymodel_conformance.workers.client import Unavailable, Worker
from polymodel_conformance.workers.jobs import Job, unpack_rule

JOB = Job("predict", build("Relu", ((2, 3),), {}), None, {"feed/i0": np.ones((2, 3), np.float32)}, {})


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    found = Worker("torch")
    yield found
    found.close()


def test_a_job_is_done(worker: Worker) -> None:
    answer = worker.call(JOB)
    assert answer.status == "done"
    assert (answer.arrays["o0"] == 1).all()
    assert worker.about["name"] == "torch"


def test_an_error_of_the_backend_is_an_answer(worker: Worker) -> None:
    wrong = Job("predict", JOB.graph, None, {"feed/i0": np.ones((2, 4), np.float32)}, {})
    answer = worker.call(wrong)
    assert (answer.status, answer.error) == ("error", "ShapeError")
    assert worker.call(JOB).status == "done"


def test_a_crash_is_blamed_on_the_job_and_the_next_one_runs(worker: Worker) -> None:
    worker.start()
    assert worker.process_id is not None
    os.kill(worker.process_id, signal.SIGKILL)
    answer = worker.call(JOB)
    assert answer.status == "crash"
    assert "SIGKILL" in answer.message
    assert worker.call(JOB).status == "done"
    assert worker.restarts == 1


def test_a_hang_is_blamed_on_the_job_and_the_next_one_runs(worker: Worker) -> None:
    worker.start()
    assert worker.process_id is not None
    os.kill(worker.process_id, signal.SIGSTOP)
    before, worker.timeout = worker.timeout, 0.5
    assert worker.call(JOB).error == "hang"
    worker.timeout = before
    assert worker.call(JOB).status == "done"


def test_an_interpreter_that_is_not_there() -> None:
    absent = Worker("torch", "/nowhere/python")
    with pytest.raises(Unavailable, match="/nowhere/python"):
        absent.start()
    absent.close()


def test_a_worker_makes_no_foreign_classes() -> None:
    with pytest.raises(ValueError, match="refused"):
        unpack_rule({"class": "subprocess:Popen", "fields": {"args": "true"}})
