"""Right answers that fixed tolerances find hard: long sums, whose rounding errors grow with their length."""

from __future__ import annotations

from polymodel_conformance.cases import Case
from polymodel_conformance.corpus.generated.row import Row, entries_of, positive, row
from polymodel_conformance.levels import forward, gradients

LENGTHS = tuple(4**n for n in range(2, 9))
"""From 16 to 65536."""


def _rows() -> list[Row]:
    rows = [row(f"product_of_{k}", "MatMul", (8, k), (k, 8), double=False) for k in LENGTHS]
    rows += [row(f"linear_of_{k}", "Gemm", (8, k), (8, k), (8,), transB=1, double=False) for k in LENGTHS]
    rows += [row(f"sum_of_{k}", "ReduceSum", (8, k), keepdims=0, double=False) for k in LENGTHS]
    rows += [row(f"norm_of_{k}", "LayerNormalization", (4, k), positive(k), (k,), double=False) for k in LENGTHS[:5]]
    rows += [
        row(f"conv_of_{c}_channels", "Conv", (1, c, 9, 8), (6, c, 3, 3), (6,), pads=[1, 1, 1, 1], double=False) for c in (4, 32, 256)
    ]
    return rows


def workloads() -> list[Case]:
    """Values of each; derivatives of the products and convolutions too."""
    entries = entries_of(_rows())
    found: list[Case] = [forward.case_of(e) for e in entries]
    named = [e for e in entries if e.name.startswith(("generated/linear", "generated/conv"))]
    found += [c for e in named if (c := gradients.case_of(e)) is not None]
    return found
