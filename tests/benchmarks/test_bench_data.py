"""The benchmark of the input pipeline itself, on a small model."""

from __future__ import annotations

from pathlib import Path

from polymodel.bench import data as bench_data


def test_a_row(tmp_path: Path) -> None:
    row = bench_data.run("lenet", "torch", tmp_path, pairs=2, steps=3, batch_size=4)
    assert 0 < row["ratio_min"] <= row["ratio"] <= row["ratio_max"]
    assert row["step_ms"] > 0
    assert row["prepare_ms"] > 0
