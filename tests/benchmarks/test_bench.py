"""The benchmark runner itself, on one small model."""

from __future__ import annotations

import math

import pytest
from rich.console import Console

from polymodel import bench, quiet
from polymodel.errors import ConfigError, UnknownBackend

KEYS = {
    "model", "backend", "optimizer", "mode", "native_mode", "ratio", "ratio_min", "ratio_max", "pairs", "step_ms",
    "native_ms", "first_step_s", "peak_mb", "other_cpu", "quiet",
}  # fmt: skip


@pytest.fixture(scope="module")
def rows() -> list[dict[str, object]]:
    told: list[tuple[int, int, str]] = []
    found = bench.run_bench(
        ["mlp"], ["torch"], ["sgd"], 3, threads=1, seconds=0.3, native_mode="eager", patience=0,
        progress=lambda done, total, text: told.append((done, total, text)),
    )  # fmt: skip
    assert told == [(0, 1, "mlp on torch with sgd"), (1, 1, "done")]
    return found


def test_a_row_says_all(rows: list[dict[str, object]]) -> None:
    (row,) = rows
    assert set(row) == KEYS
    assert (row["model"], row["backend"], row["optimizer"], row["native_mode"], row["pairs"]) == (
        "mlp", "torch", "sgd", "eager", 3,
    )  # fmt: skip
    low, middle, high = (float(str(row[k])) for k in ("ratio_min", "ratio", "ratio_max"))
    assert 0 < low <= middle <= high < math.inf
    assert float(str(row["peak_mb"])) > 50
    assert 0 < float(str(row["first_step_s"])) < 60


def test_a_table_for_people(rows: list[dict[str, object]]) -> None:
    broken = {"model": "lstm", "backend": "torch", "optimizer": "adam", "error": "it broke"}
    console = Console(width=200)
    with console.capture() as text:
        console.print(bench.table([*rows, broken]))
    assert "eager" in text.get()
    assert "it broke" in text.get()


def test_a_loop_that_cannot_be_opened_is_a_row() -> None:
    (row,) = bench.run_bench(["mlp"], ["torch"], ["sgd"], 1, threads=1, seconds=0.1, native_mode="fast", patience=0)
    assert "fast" in row["error"]
    assert "ratio" not in row


def test_a_process_that_dies_says_so() -> None:
    with bench.Child(1) as child:
        child._process.kill()
        child._process.wait()
        with pytest.raises(Exception, match="the process ended with code -9"):
            child.ask(do="modes", backend="torch", model="mlp")


def test_unknown_names_are_refused_before_anything_starts() -> None:
    with pytest.raises(ConfigError, match="unknown reference model 'vgg'"):
        bench.run_bench(["vgg"], ["torch"])
    with pytest.raises(ConfigError, match="unknown optimizer 'lion'"):
        bench.run_bench(["mlp"], ["torch"], ["lion"])
    with pytest.raises(UnknownBackend, match="cntk"):
        bench.run_bench(["mlp"], ["cntk"])


def test_the_gate_sees_load() -> None:
    assert 0 <= quiet.others(0.1) <= 1.5
    assert quiet.wait_until_quiet(limit=2.0, patience=0) >= 0
