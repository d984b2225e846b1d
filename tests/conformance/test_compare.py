"""The comparer against the bugs that comparers of other suites had."""

from __future__ import annotations

import math

import numpy as np
import pytest

from polymodel_conformance.tolerance.compare import Expected, compare, ulp_distance
from polymodel_conformance.tolerance.verdict import Verdict

RNG = np.random.default_rng(0)
VALUE = RNG.standard_normal((50, 40))
SPREAD = np.full(VALUE.shape, 1e-7, np.float32)
RIGHT = VALUE.astype(np.float32)


def expected(rule: str = "rho", value: np.ndarray = VALUE, dtype: str = "float32") -> Expected:
    spread = np.full(value.shape, 1e-7, np.float32) if rule == "rho" else None
    return Expected(value, dtype, rule, spread)


@pytest.mark.parametrize("rule", ["exact", "ulp", "rho"])
def test_the_rounded_truth_passes(rule: str) -> None:
    assert compare("y", RIGHT, expected(rule), 1.0).verdict is Verdict.PASS


@pytest.mark.parametrize("rule", ["exact", "ulp", "rho"])
def test_one_nan_fails(rule: str) -> None:
    wrong = RIGHT.copy()
    wrong[3, 4] = np.nan
    found = compare("y", wrong, expected(rule), 1e9)
    assert found.verdict is Verdict.FAIL
    assert "(3, 4)" in found.detail


def test_a_missing_nan_fails_and_is_not_read_as_zero() -> None:
    value = VALUE.copy()
    value[0, 0] = np.nan
    wrong = value.astype(np.float32)
    wrong[0, 0] = 0.0
    assert compare("y", wrong, expected(value=value), 1e9).verdict is Verdict.FAIL
    assert compare("y", value.astype(np.float32), expected(value=value), 1.0).verdict is Verdict.PASS


def test_infinities_have_a_sign() -> None:
    value = VALUE.copy()
    value[0, 0] = np.inf
    wrong = value.astype(np.float32)
    wrong[0, 0] = -np.inf
    assert compare("y", wrong, expected(value=value), 1e9).verdict is Verdict.FAIL


def test_a_value_beyond_float32_must_become_infinite() -> None:
    value = np.array([1e300, 1.0])
    assert compare("y", np.array([np.inf, 1.0], np.float32), expected(value=value), 1.0).verdict is Verdict.PASS
    assert compare("y", np.array([3e38, 1.0], np.float32), expected(value=value), 1.0).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    "wrong",
    [RIGHT.astype(np.float64), RIGHT.reshape(40, 50), RIGHT[None], RIGHT[:49], RIGHT.astype(np.float16), None, 1.0],
    ids=["float64", "shape", "rank", "shorter", "float16", "nothing", "no array"],
)
def test_dtype_and_shape_are_exact(wrong: object) -> None:
    assert compare("y", wrong, expected(), 1e9).verdict is Verdict.FAIL


@pytest.mark.parametrize("size", [10, 1000, 1_000_000])
def test_the_limit_does_not_grow_with_the_array(size: int) -> None:
    value = np.ones(size)
    wrong = np.float32(1 + 1e-4) * np.ones(size, np.float32)
    assert compare("y", wrong, Expected(value, "float32", "rho", np.full(size, 1e-7)), 8.0).verdict is Verdict.FAIL


@pytest.mark.parametrize("size", [10, 1000, 1_000_000])
def test_one_wrong_element_does_not_hide_in_a_large_array(size: int) -> None:
    value = RNG.standard_normal(size)
    wrong = value.astype(np.float32)
    wrong[size // 2] += np.float32(1e-3)
    assert compare("y", wrong, Expected(value, "float32", "rho", np.full(size, 1e-7)), 8.0).verdict is Verdict.FAIL


def test_gaussian_rounding_scores_about_one_at_any_size() -> None:
    for size in (30, 3000, 300_000):
        value = np.zeros(size)
        noise = (1e-7 * RNG.standard_normal(size)).astype(np.float32)
        found = compare("y", noise, Expected(value, "float32", "rho", np.full(size, 1e-7)), 8.0)
        assert 0.5 < found.score < 2.0


def test_between_limit_and_ten_times_it_is_suspicious() -> None:
    value = np.zeros(1000)

    def at(rho: float) -> Verdict:
        got = np.full(1000, rho * 1e-7, np.float32)
        return compare("y", got, Expected(value, "float32", "rho", np.full(1000, 1e-7)), 4.0).verdict

    assert [at(r) for r in (3.9, 4.1, 39.0, 41.0)] == [
        Verdict.PASS, Verdict.SUSPICIOUS, Verdict.SUSPICIOUS, Verdict.FAIL,
    ]


def test_without_a_floor_only_the_rounded_value_passes() -> None:
    value = np.array([0.5, 2.0])
    assert compare("y", value.astype(np.float32), Expected(value, "float32", "rho"), 8.0).verdict is Verdict.PASS
    moved = np.nextafter(value.astype(np.float32), np.float32(3))
    assert compare("y", moved, Expected(value, "float32", "rho"), 8.0).verdict is Verdict.FAIL


def test_integers_and_booleans_are_exact() -> None:
    value = np.arange(6)
    assert compare("y", value, Expected(value, "int64", "rho"), 1e9).verdict is Verdict.PASS
    assert compare("y", value + (value == 3), Expected(value, "int64", "rho"), 1e9).verdict is Verdict.FAIL
    assert compare("y", value > 2, Expected(value > 3, "bool", "exact"), 1e9).verdict is Verdict.FAIL


def test_a_scalar_and_an_empty_array() -> None:
    assert compare("y", np.array(1.0, np.float32), Expected(np.array(1.0), "float32", "rho"), 8.0).verdict is Verdict.PASS
    assert compare("y", np.array(2.0, np.float32), Expected(np.array(1.0), "float32", "rho"), 8.0).verdict is Verdict.FAIL
    empty = np.zeros((0, 3))
    assert compare("y", empty.astype(np.float32), Expected(empty, "float32", "rho"), 8.0).verdict is Verdict.PASS


def test_ulp_distance_counts_representable_values() -> None:
    one = np.array([1.0, -1.0, 0.0, np.nan], np.float32)
    next_ones = np.array([np.nextafter(np.float32(1), np.float32(2)), -1.0, -0.0, 1.0], np.float32)
    assert ulp_distance(one, next_ones).tolist() == [1.0, 0.0, 0.0, math.inf]
    across = ulp_distance(np.array([-1e-45], np.float32), np.array([1e-45], np.float32))
    assert across.tolist() == [2.0]


def test_float64_without_a_floor() -> None:
    value = np.array([0.5, 0.0])
    assert compare("y", value.copy(), Expected(value, "float64", "rho", np.zeros(2)), 8.0).verdict is Verdict.PASS
    assert compare("y", value + 1e-9, Expected(value, "float64", "rho", np.zeros(2)), 8.0).verdict is Verdict.FAIL


def test_a_float64_value_is_known_to_its_own_rounding() -> None:
    """Noise of 2**-53 vanishes in float64 arithmetic: the floor is then that of the result."""
    value = np.array([8.3, -0.7, 1e-300])
    expected = Expected(value, "float64", "rho", np.zeros(3, np.float32))
    assert not compare("y", np.nextafter(value, 9), expected, 8.0).verdict.bad
    assert compare("y", value * (1 + 1e-14), expected, 8.0).verdict.bad
