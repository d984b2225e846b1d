"""polymodel finetune and polymodel inspect on a file of another exporter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import polymodel as pm
from polymodel.config import file as config_file


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """net.onnx: x (1, 3) -> features (1, 6) -> prob (1, 4); samples.npz of 64 samples in two classes."""
    rng = np.random.default_rng(0)
    weights = {n: rng.standard_normal(s).astype(np.float32) for n, s in (("w1", (3, 6)), ("w2", (6, 4)), ("b2", (4,)))}
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"], "first"),
        helper.make_node("Relu", ["h"], ["features"], "relu"),
        helper.make_node("Gemm", ["features", "w2", "b2"], ["scores"], "second"),
        helper.make_node("Softmax", ["scores"], ["prob"], "soft"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", 1, [1, 3])],
        [helper.make_tensor_value_info("prob", 1, [1, 4])],
        [numpy_helper.from_array(a, n) for n, a in weights.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7, producer_name="someone", producer_version="2"
    )
    onnx.save(model, tmp_path / "net.onnx")
    y = rng.integers(0, 2, 64)
    np.savez(tmp_path / "samples.npz", x=(rng.standard_normal((64, 3)) + 2 * y[:, None]).astype(np.float32), target=y)
    return tmp_path / "net.onnx"


def test_a_dry_run_shows_what_would_be_trained(polymodel: Any, net: Path) -> None:
    done = polymodel("finetune", net, "--dry-run", "--train", "w2,b2")
    assert done.code == 0, done.err
    assert "input B of MatMul 'first'" in done.out
    assert "2 parameters (28 elements), 1 frozen (18 elements)" in done.out
    rows = polymodel("finetune", net, "--dry-run", "--replace-head", "features", "--classes", "2", "--json").json
    assert rows["outputs"] == ["logits"]
    assert {r["name"]: r["role"] for r in rows["tensors"]} == {
        "w1": "parameter",
        "head.weight": "parameter",
        "head.bias": "parameter",
    }
    assert not (net.parent / "runs").exists()


@pytest.mark.parametrize("backend", ["torch", "tensorflow", "mxnet"])
def test_a_file_is_trained_and_written_again(polymodel: Any, net: Path, backend: str) -> None:
    folder = net.parent
    done = polymodel(
        "finetune", net, "--data", folder / "samples.npz", "--backend", backend, "--replace-head", "features",
        "--classes", "2", "--train", "head.*", "--optimizer", "sgd", "--lr", "0.3", "--epochs", "6", "--batch-size", "16",
        "--metrics", "accuracy", "--validation", "0.25", "--output", folder / "run", "--export", folder / "tuned.onnx",
        "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    history = done.json["history"]
    assert history[-1]["loss"] < history[0]["loss"]
    assert done.json["export"] == str(folder / "tuned.onnx")
    tuned = pm.load_onnx(folder / "tuned.onnx")
    assert tuned.outputs == ("logits",)
    assert tuned.trainable == ("head.weight", "head.bias")
    assert {p.name for p in (folder / "run").iterdir()} >= {"config.yaml", "history.csv", "checkpoints", "environment.json"}
    config = config_file.read(folder / "run/config.yaml")
    assert (config.model.replace_head, config.model.classes, config.model.trainable) == ("features", 2, ["head.*"])
    again = polymodel("evaluate", folder / "run", "--on", "validation", "--json")
    assert again.json["accuracy"] == pytest.approx(history[-1]["val_accuracy"], abs=0.2)


def test_a_loss_on_an_inner_tensor(polymodel: Any, net: Path) -> None:
    folder = net.parent
    done = polymodel(
        "finetune", net, "--data", folder / "samples.npz", "--backend", "torch", "--outputs", "prob,scores",
        "--loss-output", "scores", "--epochs", "3", "--output", folder / "run", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert done.json["history"][-1]["loss"] < done.json["history"][0]["loss"]


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        ((), 2, "--data is missing"),
        (("--dry-run", "--replace-head", "features"), 2, "give both"),
        (("--dry-run", "--replace-head", "nowhere", "--classes", "2"), 1, "makes no tensor 'nowhere'"),
        (("--dry-run", "--train", "conv*"), 1, "matches no floating-point tensor"),
        (("--dry-run", "--loss", "hing"), 2, "unknown loss"),
    ],
)
def test_refusals(polymodel: Any, net: Path, arguments: tuple[str, ...], code: int, why: str) -> None:
    done = polymodel("finetune", net, *arguments)
    assert (done.code, why in done.err) == (code, True), done.err


def test_inspect(polymodel: Any, net: Path) -> None:
    done = polymodel("inspect", net, "--weights", "--tensors")
    assert done.code == 0, done.err
    for words in ("IR version 7, operator sets ai.onnx 13, written by someone 2", "x  float32[1, 3]", "fixed, can be made free"):
        assert words in done.out
    assert "input B of MatMul 'first'" in done.out
    assert "FLOAT[1,6]" in done.out
    found = polymodel("inspect", net, "--json", "--backends", "mxnet").json
    assert found["flops"] == 2 * (3 * 6 + 6 * 4)
    assert found["parameters"]["parameter"] == {"tensors": 3, "elements": 46, "bytes": 184}
    assert {o["op_type"]: o["support"] for o in found["operators"]}["Gemm"] == {"mxnet": "compiled"}


def test_inspect_asks_only_the_named_backends(net: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from polymodel.artifact.inspection import inspect; import json; "
        f"found = inspect({str(net)!r}, ['torch']); "
        "print(json.dumps([sorted({'torch', 'tensorflow', 'mxnet'} & set(sys.modules)), found.missing('torch')]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [["torch"], []]


def test_inspect_of_a_file_that_cannot_be_loaded(polymodel: Any, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Swirl", ["x"], ["h"], domain="com.acme"), helper.make_node("Twist", ["h"], ["y"], domain="com.acme")],
        "g",
        [helper.make_tensor_value_info("x", 1, [2])],
        [helper.make_tensor_value_info("y", 1, [2])],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.acme", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "custom.onnx")
    done = polymodel("inspect", tmp_path / "custom.onnx", "--backends", "torch")
    assert done.code == 0
    assert "com.acme::Swirl" in done.out
    assert "missing: nothing runs it" in done.out
    assert "cannot be loaded: 2 operator(s) are not in the standard" in done.out
