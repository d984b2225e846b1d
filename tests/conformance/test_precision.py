"""Level 10 knows the rounding of half precision, and a backend that rounds more than that does not pass."""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest

from polymodel.spec import numpy_dtype
from polymodel_conformance.cases import Case, GraphCase, Outcome
from polymodel_conformance.corpus.generated.row import entry_of, row, takes
from polymodel_conformance.judging import claims
from polymodel_conformance.levels import cases_of
from polymodel_conformance.levels.precision import HALVES, LONG
from polymodel_conformance.tolerance.verdict import Verdict
from polymodel_conformance.workers.client import HERE, Answer, Place, Worker
from polymodel_conformance.workers.jobs import Job

Compute = Callable[[np.ndarray, np.ndarray], np.ndarray]


def judged(case: Case, compute: Compute) -> Outcome:
    def call(job: Job, backend: str | None = None, place: Place = HERE) -> Answer:
        return Answer("done", {"o0": compute(job.arrays["feed/i0"], job.arrays["feed/i1"])})

    case.prepare()
    return case.judge(call)


def product(half: str) -> GraphCase:
    entry = entry_of(LONG, half)
    return GraphCase("precision/product", 10, entry.graph, entry.draw)


@pytest.mark.parametrize("half", HALVES)
def test_sums_are_gathered_in_float32_and_rounded_once(half: str) -> None:
    kind = numpy_dtype(half)

    def right(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        assert a.dtype == kind
        return (a.astype(np.float32) @ b.astype(np.float32)).astype(kind)

    def in_half(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        total = np.zeros((5, 6), kind)
        for k in range(4096):
            total = (total + a[:, k : k + 1] * b[k : k + 1]).astype(kind)
        return total

    assert judged(product(half), right).verdict is Verdict.PASS
    assert judged(product(half), in_half).verdict.bad


def test_bfloat16_in_the_place_of_float16_is_noticed() -> None:
    entry = entry_of(row("sum", "Add", (5, 6), (5, 6)), "float16")
    case = GraphCase("precision/sum", 10, entry.graph, entry.draw)
    assert judged(case, lambda a, b: a + b).verdict is Verdict.PASS
    assert judged(case, lambda a, b: (a + b).astype(ml_dtypes.bfloat16).astype(np.float16)).verdict.bad


@pytest.mark.parametrize("half", HALVES)
def test_a_wrong_dtype_is_noticed(half: str) -> None:
    outcome = judged(product(half), lambda a, b: a.astype(np.float32) @ b.astype(np.float32))
    assert outcome.verdict is Verdict.FAIL
    assert f"expected {half}" in outcome.message


def test_every_family_is_asked_for_values_and_derivatives_in_both_types() -> None:
    ids = [c.id for c in cases_of(10)("full", ["torch"])]
    for half in HALVES:
        assert sum(i.startswith("precision/values/") and i.endswith(f"_{half}") for i in ids) > 500
        assert sum(i.startswith("precision/gradients/") and i.endswith(f"_{half}") for i in ids) > 400
        assert {f"precision/mixed_{half}/{w}" for w in ("values", "gradients", "step1", "step2", "step3")} <= set(ids)


def test_a_type_that_an_operator_does_not_take_is_not_asked_for() -> None:
    assert not takes(row("x", "BitShift", (3,), (3,)), "float16")


def test_a_type_that_is_carried_is_claimed() -> None:
    about = {"operators": [["", "MatMul"]], "dtypes": ["float32"], "tf32": False}
    assert claims(about, product("bfloat16"))
    assert not claims({**about, "dtypes": ["int64"]}, product("bfloat16"))


@pytest.mark.parametrize("backend", ["torch", "tensorflow", "mxnet"])
def test_a_mixed_network_trains(backend: str) -> None:
    worker = Worker(backend)
    try:
        for case in cases_of(10)("smoke", [backend]):
            if case.id.startswith("precision/mixed_float16"):
                case.prepare()
                outcome = case.judge(lambda job, other=None, place=HERE: worker.call(job))
                assert outcome.verdict is Verdict.PASS, (case.id, outcome.message)
    finally:
        worker.close()
