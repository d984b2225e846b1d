"""Reductions, scans, orders."""

from __future__ import annotations

import numpy as np

from polymodel_conformance.corpus.generated.row import Row, ints, positive, row

_OPS = (
    "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum",
    "ReduceLogSumExp", "ReduceProd",
)


def _reductions() -> list[Row]:
    rows: list[Row] = []
    for op in _OPS:
        positive_only = "Log" in op
        x = positive(3, 7, 5) if positive_only else (3, 7, 5)
        for name, axes, keep in (("_last", [-1], 1), ("_outer", [0, 2], 0)):
            rows.append(row(f"{op.lower()}{name}", op, x, ints(*axes), keepdims=keep, smoke=f"{op}{name}" == "ReduceSum_outer"))
        rows.append(row(f"{op.lower()}_all", op, positive(3, 4) if positive_only else (3, 4), keepdims=0, double=False))
        rows.append(row(f"{op.lower()}_none", op, positive(3, 4) if positive_only else (3, 4), noop_with_empty_axes=1, double=False))
        rows.append(row(f"{op.lower()}_scalar", op, positive() if positive_only else (), keepdims=0, double=False))
        rows.append(row(f"{op.lower()}_one", op, positive(3, 1, 4) if positive_only else (3, 1, 4), ints(1), double=False))
        if op not in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceLogSum", "ReduceLogSumExp", "ReduceL2"):
            rows.append(row(f"{op.lower()}_of_nothing", op, (3, 0, 4), ints(1), double=False))
        rows.append(row(f"{op.lower()}_batch_of_none", op, positive(0, 3) if positive_only else (0, 3), ints(1), double=False))
    return rows


_SCANS: list[Row] = [
    row("cumsum", "CumSum", (3, 7), np.array(1, np.int64), reverse=1, exclusive=1),
    row("cumsum_first", "CumSum", (3, 7), np.array(0, np.int64)),
    row("cumsum_negative", "CumSum", (2, 3, 5), np.array(-2, np.int64), exclusive=1),
    row("cumsum_batch_of_none", "CumSum", (0, 4), np.array(1, np.int64)),
    row("cumprod", "CumProd", (3, 7), np.array(1, np.int64)),
    row("cumprod_exclusive", "CumProd", (3, 5), np.array(0, np.int64), exclusive=1),
    row("cumprod_reverse", "CumProd", (2, 3, 4), np.array(-1, np.int64), reverse=1),
    row("cumprod_both", "CumProd", (2, 3, 4), np.array(-2, np.int64), reverse=1, exclusive=1),
    row("topk", "TopK", (3, 7), ints(3), outputs=2),
    row("topk_smallest", "TopK", (4, 5, 3), ints(2), outputs=2, axis=1, largest=0),
    row("topk_all", "TopK", (4, 5), ints(4), outputs=2, axis=0),
    row("topk_negative_axis", "TopK", (2, 6, 3), ints(1), outputs=2, axis=-2),
    row("hardmax", "Hardmax", (3, 5), axis=0),
    row("reducelogsumexp_large", "ReduceLogSumExp", (3, 1027), ints(1)),
    row("reducesum_long", "ReduceSum", (3, 4099), ints(1)),
]

ROWS = [*_reductions(), *_SCANS]
