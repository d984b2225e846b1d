"""Where a number format ends: integers that wrap around, NaN, infinities, halves, signed zeros. Values only."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from polymodel_conformance.corpus.entry import Entry
from polymodel_conformance.corpus.generated.row import Fed, Row, build, draw, row

_INF, _NAN = np.inf, np.nan


def _i(dtype: str, *values: int) -> Fed:
    return Fed(np.array(values, dtype))


def _rows(*rows: list[float]) -> Fed:
    return Fed(np.array(rows, np.float32))


def _f(*values: float) -> Fed:
    return Fed(np.array(values, np.float32))


_LAST = np.array([1])
_MIXED = _f(_NAN, -_INF, -2.5, -0.0, 0.0, 1.5, _INF)

_INTEGERS: list[Row] = [
    row("add_wraps_int8", "Add", _i("int8", 127, -128, 100, -3), _i("int8", 1, -1, 100, 2)),
    row("add_wraps_uint8", "Add", _i("uint8", 255, 250, 7), _i("uint8", 1, 10, 8)),
    row("add_wraps_int32", "Add", _i("int32", 2**31 - 1, -(2**31), 5), _i("int32", 1, -1, 6)),
    row("add_wraps_int64", "Add", _i("int64", 2**63 - 1, -(2**63), 5), _i("int64", 1, -1, 6)),
    row("sub_wraps_uint8", "Sub", _i("uint8", 0, 3, 200), _i("uint8", 1, 5, 100)),
    row("mul_wraps_int32", "Mul", _i("int32", 2**30, -(2**20), 7), _i("int32", 4, 2**15, -3)),
    row("mul_wraps_int16", "Mul", _i("int16", 300, -200, 7), _i("int16", 300, 200, -3)),
    row("neg_of_smallest", "Neg", _i("int8", -128, 127, 0)),
    row("reducesum_wraps", "ReduceSum", _i("int32", 2**31 - 1, 2**31 - 1, 5), keepdims=0),
    row("cumsum_wraps", "CumSum", _i("int32", 2**31 - 1, 2, 5), np.array(0, np.int64)),
    row("matmul_wraps", "MatMul", Fed(np.array([[2**30, 3]], np.int32)), Fed(np.array([[4], [5]], np.int32))),
    row("cast_wraps", "Cast", _i("int32", 300, -129, 127, -1), to=3),
    row("div_truncates", "Div", _i("int32", 7, -7, 7, -7, 6), _i("int32", 2, 2, -2, -2, 3)),
    row("mod_of_floor", "Mod", _i("int32", 7, -7, 7, -7), _i("int32", 3, 3, -3, -3)),
    row("mod_of_truncation", "Mod", _i("int32", 7, -7, 7, -7), _i("int32", 3, 3, -3, -3), fmod=1),
    row("cast_truncates", "Cast", _f(1.5, -1.5, 2.999, -0.4, 0.0), to=6),
]
_FLOATS: list[Row] = [
    row("max_of_nan", "Max", _f(_NAN, 1.0, _NAN, _INF, -_INF), _f(2.0, _NAN, _NAN, 3.0, 3.0)),
    row("min_of_nan", "Min", _f(_NAN, 1.0, _NAN, _INF, -_INF), _f(2.0, _NAN, _NAN, 3.0, 3.0)),
    row("relu_of_nan", "Relu", _MIXED),
    row("less_of_nan", "Less", _MIXED, _f(0.0, 0.0, _NAN, 0.0, _NAN, 2.0, 3.0)),
    row("equal_of_nan", "Equal", _f(_NAN, 0.0, -0.0, _INF), _f(_NAN, -0.0, 0.0, _INF)),
    row("isnan", "IsNaN", _MIXED),
    row("isinf", "IsInf", _MIXED),
    row("sign", "Sign", _f(-_INF, -2.5, -0.0, 0.0, 1.5, _INF)),
    row("abs", "Abs", _MIXED),
    row("round_halves", "Round", _f(-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.49)),
    row("sqrt_of_negative", "Sqrt", _f(-1.0, 0.0, 4.0, _INF, _NAN)),
    row("log_of_zero", "Log", _f(0.0, 1.0, 2.0, _INF)),
    row("exp_overflows", "Exp", _f(-_INF, -200.0, 0.0, 100.0, _INF)),
    row("div_by_zero", "Div", _f(1.0, -1.0, 0.0, _INF, 3.0), _f(0.0, 0.0, 0.0, _INF, _INF)),
    row("mul_of_infinity", "Mul", _f(_INF, _INF, -_INF, 2.0), _f(0.0, 2.0, 3.0, -_INF)),
    row("sub_of_infinities", "Sub", _f(_INF, _INF, 1.0), _f(_INF, -_INF, _INF)),
    row("pow_of_zero", "Pow", _f(0.0, 0.0, 0.0, -2.0), _f(-1.0, 0.0, 2.0, 0.5)),
    row("reducesum_of_infinities", "ReduceSum", _rows([1, _INF], [_INF, -_INF], [_NAN, 1]), _LAST, keepdims=0),
    row("reducesum_before_and_after", "ReduceSum", _rows([1, _INF, 1], [-_INF, 1, 1], [3e38, 3e38, 1]), _LAST, keepdims=0),
    row("reducemean_of_infinities", "ReduceMean", _rows([_INF, 1, 1], [1, -_INF, 1]), _LAST, keepdims=0),
    row("reducelogsumexp_of_infinities", "ReduceLogSumExp", _rows([_INF, 1], [-_INF, 1], [-_INF, -_INF]), _LAST, keepdims=0),
    row("reducemax_of_nan", "ReduceMax", _rows([1, _INF], [_NAN, 2], [-_INF, -_INF]), _LAST, keepdims=0),
    row("softmax_of_minus_infinity", "Softmax", _rows([0, -_INF, 1], [-_INF, -_INF, 3])),
    row("sigmoid_of_infinity", "Sigmoid", _f(-_INF, 0.0, _INF, _NAN)),
    row("tanh_of_infinity", "Tanh", _f(-_INF, 0.0, _INF, _NAN)),
    row("where_of_nan", "Where", Fed(np.array([True, False, True])), _f(_NAN, _NAN, 1.0), _f(1.0, 2.0, _NAN)),
]


@lru_cache(maxsize=1)
def special() -> tuple[Entry, ...]:
    """Every row; all of them are in the quick profile."""
    return tuple(
        Entry(f"special/{r.name}", build(r.op, r.inputs, r.attributes), lambda seed, r=r: draw(r.inputs, seed))  # type: ignore[misc]
        for r in (*_INTEGERS, *_FLOATS)
    )
