"""Faults for the self-test of the suite: what an answer can have wrong, and what comparers are known to let through.

The made answers repeat what was found in other suites: a NaN that is compared with itself, NaN and infinity replaced before
comparing, an exception taken for a pass, a tolerance that grows with the size of the array, a quarter of error accepted,
nothing collected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from polymodel.spec import numpy_dtype
from polymodel_conformance.cases import Outcome, judged
from polymodel_conformance.tolerance.compare import Expected
from polymodel_conformance.workers.client import Answer

Change = Callable[[dict[str, np.ndarray]], None]


def noticed(outcome: Outcome) -> bool:
    """Whether a fault was taken for one."""
    return outcome.verdict.bad


@final
@dataclass(frozen=True)
class Fault:
    """What can be wrong with an answer.

    Attributes:
        name: in words.
        change: makes it so, in place; it may raise StopIteration where the answer has nothing to spoil.
    """

    name: str
    change: Change

    def spoil(self, answer: Answer) -> Answer | None:
        """The answer with the fault in it; None where it cannot have this fault, or would be the same."""
        arrays = {n: np.array(a) for n, a in answer.arrays.items()}
        try:
            self.change(arrays)
        except StopIteration:
            return None
        return replace(answer, arrays=arrays)


def _first(arrays: dict[str, np.ndarray]) -> str:
    return max(arrays, key=lambda n: arrays[n].size)


def _element(value: Callable[[np.ndarray], object]) -> Change:
    """Another last element of the largest array."""

    def change(arrays: dict[str, np.ndarray]) -> None:
        flat = arrays[_first(arrays)].reshape(-1)
        flat[-1] = value(flat)

    return change


def _whole(other: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Something else in the place of the largest array."""

    def change(arrays: dict[str, np.ndarray]) -> None:
        name = _first(arrays)
        arrays[name] = other(arrays[name])

    return change


def _swap(arrays: dict[str, np.ndarray]) -> None:
    pairs = ((a, b) for a in arrays for b in arrays if a < b and arrays[a].shape == arrays[b].shape)
    a, b = next(p for p in pairs if not np.array_equal(arrays[p[0]], arrays[p[1]]))
    arrays[a], arrays[b] = arrays[b], arrays[a]


def _none(arrays: dict[str, np.ndarray]) -> None:
    del arrays[_first(arrays)]


IN_ANSWERS: tuple[Fault, ...] = (
    Fault("NaN in one element", _element(lambda flat: np.nan)),
    Fault("an infinity in one element", _element(lambda flat: np.inf)),
    Fault("one element of median size +0.1 %", _element(lambda flat: flat[-1] + np.median(np.abs(flat)) * flat.dtype.type(1e-3))),
    Fault("all elements +0.1 %", _whole(lambda a: a * a.dtype.type(1.001))),
    Fault("zeros", _whole(np.zeros_like)),
    Fault("the negative", _whole(np.negative)),
    Fault("in reverse order", _whole(lambda a: a.reshape(-1)[::-1].reshape(a.shape))),
    Fault("one axis more", _whole(lambda a: a[None])),
    Fault("axes merged", _whole(lambda a: a.reshape(-1))),
    Fault("float64", _whole(lambda a: a.astype(np.float64))),
    Fault("rounded to float16", _whole(lambda a: a.astype(np.float16).astype(a.dtype))),
    Fault("two outputs swapped", _swap),
    Fault("an output missing", _none),
)
"""What is planted in true answers of float32."""


@final
@dataclass(frozen=True)
class Made:
    """An answer that nobody computed.

    Attributes:
        name: in words.
        answer: it.
        expected: what it is compared with.
        wrong: whether it must be noticed; else it must pass.
    """

    name: str
    answer: Answer
    expected: Expected
    wrong: bool = True

    def judge(self) -> Outcome:
        """What the comparer says."""
        return judged(self.answer, {"y": self.expected}, "integrity")


def _expected(value: np.ndarray, rule: str, dtype: str) -> Expected:
    unit = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}.get(dtype, 0.0)
    spread = np.abs(value) * unit if rule == "rho" else None
    return Expected(value, dtype, rule, spread)


def _floats(dtype: str) -> Iterator[Made]:
    kind = numpy_dtype(dtype)
    value = np.random.default_rng(4).standard_normal(4096)
    value[7], value[8], value[9] = np.nan, np.inf, -np.inf
    value = value.astype(kind).astype(np.float64)
    right = value.astype(kind)

    def made(words: str, rule: str, spoil: Callable[[np.ndarray], np.ndarray], wrong: bool = True) -> Made:
        answer = Answer("done", {"y": spoil(right.copy())})
        return Made(f"{dtype}, {rule}: {words}", answer, _expected(value, rule, dtype), wrong)

    def put(i: int, what: float) -> Callable[[np.ndarray], np.ndarray]:
        def spoil(a: np.ndarray) -> np.ndarray:
            a[i] = what
            return a

        return spoil

    for rule in ("exact", "ulp", "rho"):
        yield made("the right answer", rule, lambda a: a, wrong=False)
        yield made("a NaN where a number belongs", rule, put(3, np.nan))
        yield made("a number where NaN belongs", rule, put(7, 0.0))
        yield made("nothing but NaN", rule, lambda a: np.full_like(a, np.nan))
        yield made("the largest number where an infinity belongs", rule, put(8, float(right[np.isfinite(right)].max())))
        yield made("the other infinity", rule, put(9, np.inf))
        yield made("one of 4096 elements is a quarter too large", rule, lambda a: _scaled(a, 11, 1.25))
        yield made("everything is a quarter too large", rule, lambda a: (a.astype(np.float64) * 1.25).astype(a.dtype))
        yield made("no elements", rule, lambda a: a[:0])


def _scaled(array: np.ndarray, i: int, factor: float) -> np.ndarray:
    array[i] = float(array[i]) * factor
    return array


def _others() -> Iterator[Made]:
    numbers = np.arange(12, dtype=np.int64)
    exact = _expected(numbers, "exact", "int64")
    yield Made("int64: the right answer", Answer("done", {"y": numbers}), exact, wrong=False)
    yield Made("int64: one off", Answer("done", {"y": numbers + (numbers == 5)}), exact)
    yield Made("int32 instead of int64", Answer("done", {"y": numbers.astype(np.int32)}), exact)
    yield Made("a list instead of an array", Answer("done", {"y": numbers.tolist()}), exact)
    yield Made("no answer", Answer("done", {}), exact)
    yield Made("an exception, with the right answer beside it", Answer("error", {"y": numbers}, "ValueError", "no"), exact)
    yield Made("a crash, with the right answer beside it", Answer("crash", {"y": numbers}, "crash", "SIGSEGV"), exact)


MADE: tuple[Made, ...] = (*(m for d in ("float64", "float32", "float16", "bfloat16") for m in _floats(d)), *_others())
"""Right and wrong answers."""


def empty() -> bool:
    """Whether a run that collects nothing is taken for a failure."""
    from polymodel_conformance.judging import judge_all
    from polymodel_conformance.reporting.report import Report

    report = Report("smoke", [1], ["none"])
    judge_all(report, {}, [], quiet=True)
    return report.exit_code == 1
