"""Level 12 tells the classes of numbers apart, and notices every way to lose one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from polymodel_conformance.cases import Case, Outcome
from polymodel_conformance.corpus.special_numbers import NUMBERS, wrapped
from polymodel_conformance.levels import cases_of
from polymodel_conformance.levels.special import ClassCase, UntouchedCase
from polymodel_conformance.tolerance.classes import classes, same_classes
from polymodel_conformance.tolerance.verdict import Verdict
from polymodel_conformance.workers.client import HERE, Answer, Place, Worker
from polymodel_conformance.workers.jobs import Job

CASES = {c.id: c for c in cases_of(12)("full", ["torch"])}
TINY = np.float32(2.0**-126)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
def test_classes(dtype: type) -> None:
    info: Any = ml_dtypes.finfo  # its stub lacks the types
    small = float(info(dtype).smallest_normal)
    numbers: np.ndarray = np.array([1.0, -small, small / 2, -small / 2, 0.0, -0.0, np.inf, -np.inf, np.nan], dtype)
    assert classes(numbers, True).tolist() == [1, -1, 2, -2, 3, -3, 4, -4, 5]
    assert classes(-numbers, False).tolist() == [-1, 1, -2, 2, 3, 3, -4, 4, 5]


def judged(name: str, spoil: Callable[[np.ndarray], np.ndarray]) -> Outcome:
    case = CASES[name]
    assert isinstance(case, ClassCase)

    def call(job: Job, backend: str | None = None, place: Place = HERE) -> Answer:
        return Answer("done", {n: spoil(a.copy()) for n, a in case.want.items()})

    return case.judge(call)


@pytest.mark.parametrize("name", [c.id for c in CASES.values() if isinstance(c, ClassCase)])
def test_what_is_expected_passes(name: str) -> None:
    assert judged(name, lambda a: a).verdict is Verdict.PASS


def flush(a: np.ndarray) -> np.ndarray:
    return np.where(np.abs(a) < TINY, np.float32(0), a)


@pytest.mark.parametrize(
    ("name", "spoil", "words"),
    [
        ("special/Abs/nan", lambda a: np.nan_to_num(a), "zero for NaN"),
        ("special/Exp/infinities", lambda a: np.minimum(a, np.finfo(np.float32).max), "ordinary for infinity"),
        ("special/Neg/zeros", lambda a: a + np.float32(0), "zero for zero"),
        ("special/Identity/subnormals", flush, "zero for subnormal"),
        ("special/Mul/largest", lambda a: np.clip(a, -3e38, 3e38).astype(np.float32), "ordinary for infinity"),
        ("special/ReduceMax/nan", lambda a: np.zeros_like(a), "zero for NaN"),
        ("special/overflow/Add_int8", lambda a: np.where(a == wrapped(127 * 2, "int8"), np.int8(127), a), "received"),
        ("special/empty/max", lambda a: np.zeros_like(a), "zero for infinity"),
        ("special/empty/exp", lambda a: a.reshape(0), r"received float32\[0\]"),
        ("special/cast/float16", lambda a: np.clip(a, -np.float16(65504), np.float16(65504)), "ordinary for infinity"),
        ("special/cast/bfloat16", lambda a: a.astype(np.float32), "received float32"),
    ],
)
def test_a_lost_class_is_noticed(name: str, spoil: Callable[[np.ndarray], np.ndarray], words: str) -> None:
    outcome = judged(name, spoil)
    assert outcome.verdict is Verdict.FAIL
    assert re.search(words, outcome.message), outcome.message


def test_integers_wrap_as_in_numpy() -> None:
    with np.errstate(all="ignore"):
        for dtype in ("int8", "uint8", "int16", "uint32", "int64", "uint64"):
            info = np.iinfo(dtype)
            x, y = np.array([info.max, info.min, 3], dtype), np.array([info.max, 7, 5], dtype)
            for got, value in ((x + y, x.astype(object) + y), (x * y, x.astype(object) * y), (x - y, x.astype(object) - y)):
                np.testing.assert_array_equal(wrapped(value, dtype), got)


def test_the_kinds_of_numbers_have_what_they_say() -> None:
    of = {kind: set(np.abs(classes(np.array(v, np.float32), True)).tolist()) for kind, v in NUMBERS.items()}
    assert of == {"nan": {1, 5}, "infinities": {1, 4}, "zeros": {1, 3}, "subnormals": {1, 2}, "largest": {1}}
    assert len({len(v) for v in NUMBERS.values()}) == 1


def test_not_an_array() -> None:
    assert same_classes("y", [1.0], np.ones(1, np.float32), True).verdict is Verdict.FAIL


def test_a_nan_that_spreads_in_a_derivative_is_noticed() -> None:
    case = CASES["special/gradients/Exp"]
    assert isinstance(case, UntouchedCase)

    def gradient(job: Job) -> np.ndarray:
        return np.asarray(np.exp(job.arrays["feed/i0"]) * job.arrays["cotangent/o0"])

    def honest(job: Job, backend: str | None = None, place: Place = HERE) -> Answer:
        return Answer("done", {"i0": gradient(job)})

    def spreading(job: Job, backend: str | None = None, place: Place = HERE) -> Answer:
        g = gradient(job)
        g[1] = np.where(np.isfinite(g[1]).all(), g[1], np.float32(np.nan))
        return Answer("done", {"i0": g})

    with np.errstate(all="ignore"):
        assert case.judge(honest).verdict is Verdict.PASS
        outcome = case.judge(spreading)
    assert outcome.verdict is Verdict.FAIL
    assert "beside nan" in outcome.message


@pytest.mark.parametrize("backend", ["torch", "tensorflow", "mxnet"])
def test_nan_and_infinities_survive_a_backend(backend: str) -> None:
    worker = Worker(backend)
    operators = ("Exp", "Mul", "ReduceSum", "Softplus", "Round", "Sign")
    chosen: list[Case] = [CASES[f"special/{op}/{kind}"] for op in operators for kind in ("nan", "infinities")]
    try:
        for case in chosen:
            outcome = case.judge(lambda job, other=None, place=HERE: worker.call(job))
            assert outcome.verdict is Verdict.PASS, (case.id, outcome.message)
    finally:
        worker.close()
