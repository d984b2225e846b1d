"""The benchmark runner itself, on one small model."""

from __future__ import annotations

import math

import numpy as np
import onnxruntime
import pytest
from rich.console import Console

from polymodel import Model, TensorSpec, nn
from polymodel.artifact.export import export
from polymodel.bench import quiet
from polymodel.bench import run as bench
from polymodel.bench import worker as bench_worker
from polymodel.errors import ConfigError, UnknownBackend
from polymodel.models.imported import IMPORTED

SPECS = {"x": TensorSpec(("batch", 128), "int64")}

KEYS = {
    "model", "backend", "task", "optimizer", "mode", "native_mode", "ratio", "ratio_min", "ratio_max", "cpu_ratio", "pairs",
    "step_ms", "native_ms", "first_step_s", "peak_mb", "native_peak_mb", "other_cpu", "quiet",
}  # fmt: skip


@pytest.fixture(scope="module")
def rows() -> list[dict[str, object]]:
    told: list[tuple[int, int, str]] = []
    found = bench.run_bench(
        ["mlp"], ["torch"], ["sgd"], 3, threads=1, seconds=0.3, native_mode="eager", patience=0,
        progress=lambda done, total, text: told.append((done, total, text)),
    )  # fmt: skip
    assert told == [(0, 1, "mlp on torch: train with sgd"), (1, 1, "done")]
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


def test_a_fit_with_all_around_it() -> None:
    (row,) = bench.run_bench(
        ["mlp"], ["torch"], ["sgd"], 2, threads=1, seconds=0.3, native_mode="eager", patience=0, tasks=["fit"]
    )  # fmt: skip
    assert set(row) == KEYS
    assert row["task"] == "fit"
    assert 0 < row["ratio"] < math.inf


def test_a_table_for_people(rows: list[dict[str, object]]) -> None:
    broken = {"model": "lstm", "backend": "torch", "task": "train", "optimizer": "adam", "error": "it broke"}
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
    with pytest.raises(ConfigError, match=r"unknown model 'vgg'; expected one of mlp, .*, bert"):
        bench.run_bench(["vgg"], ["torch"])
    with pytest.raises(ConfigError, match="unknown optimizer 'lion'"):
        bench.run_bench(["mlp"], ["torch"], ["lion"])
    with pytest.raises(ConfigError, match="unknown task 'infer'"):
        bench.run_bench(["bert"], ["torch"], tasks=["infer"])
    with pytest.raises(ConfigError, match="task 'predict' is measured on resnet50, bert; received 'mlp'"):
        bench.run_bench(["bert", "mlp"], ["torch"], tasks=["predict"])
    with pytest.raises(ConfigError, match=r"task 'fit' is measured on mlp, .*; received 'bert'"):
        bench.run_bench(["mlp", "bert"], ["torch"], tasks=["fit"])
    with pytest.raises(UnknownBackend, match="cntk"):
        bench.run_bench(["mlp"], ["cntk"])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, np.ndarray]:
    """An ONNX file in the place of an imported model's, and an input."""
    model = Model(nn.Sequential(nn.Embedding(30522, 4), nn.Flatten(), nn.Linear(512, 2)), SPECS, ["logits"])
    path = tmp_path_factory.mktemp("bench") / "small.onnx"
    export(model.graph, path, verify=False)
    return str(path), IMPORTED["bert"].make_batch(4)[0]


COMMON = {"backend": "torch", "model": "bert", "threads": 1, "device": "cpu", "mode": "auto"}


def test_an_imported_file_is_trained_and_predicts(small: tuple[str, np.ndarray]) -> None:
    server = bench_worker.Server()
    for task in ("train", "predict"):
        answer = server.answer({"do": "open", "side": "polymodel", "optimizer": "sgd", "task": task, "file": small[0], **COMMON})
        block = server.answer({"do": "block", "key": answer["key"], "steps": 2})
        assert block["ms"] > 0
        assert math.isfinite(block["loss"])


def test_the_way_from_a_file_to_a_prediction_is_timed(small: tuple[str, np.ndarray]) -> None:
    answer = bench_worker.Server().answer({"do": "import", "optimizer": "", "task": "import", "file": small[0], **COMMON})
    assert 0 < answer["import_s"] < answer["first_s"] < 60
    assert answer["cpu_s"] > 0
    assert answer["first"] == pytest.approx(float(load_and_run(*small)), rel=1e-5)


def load_and_run(path: str, x: np.ndarray) -> float:
    result = onnxruntime.InferenceSession(path).run(None, {"x": x})[0]
    return float(np.asarray(result).ravel()[0])


def test_the_gate_sees_load() -> None:
    assert 0 <= quiet.others(0.1) <= 1.5
    assert quiet.wait_until_quiet(limit=2.0, patience=0) >= 0
