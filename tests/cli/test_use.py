"""evaluate, predict, export, verify: what one does with a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from polymodel.training import checkpoint


@pytest.fixture
def run(polymodel: Any, work: Path) -> Path:
    done = polymodel("train", work / "config.yaml", "--output", work / "run")
    assert done.code == 0, done.err
    return work / "run"


@pytest.fixture
def inputs(work: Path) -> Path:
    np.savez(work / "inputs.npz", x=np.random.default_rng(1).standard_normal((7, 3)).astype(np.float32))
    return work / "inputs.npz"


def test_evaluate(polymodel: Any, run: Path) -> None:
    found = polymodel("evaluate", run, "--json").json
    assert (found["on"], found["backend"]) == ("test", "torch")
    other = polymodel("evaluate", run, "--on", "validation", "--checkpoint", "latest", "--backend", "mxnet", "--json").json
    history = json.loads((checkpoint.resolve(run / "checkpoints") / checkpoint.RECORD).read_text())["history"]
    assert other["loss"] == pytest.approx(history[-1]["val_loss"], rel=1e-5)
    assert "accuracy" in polymodel("evaluate", run, "--on", "train").out


def test_evaluate_without_such_samples(polymodel: Any, work: Path) -> None:
    done = polymodel("train", work / "config.yaml", "--output", work / "run", "--set", "data.test=null")
    assert done.code == 0
    assert polymodel("evaluate", work / "run", "--json").json["on"] == "validation"
    done = polymodel("evaluate", work / "run", "--on", "test")
    assert (done.code, "no test samples" in done.err) == (2, True)


def test_predict(polymodel: Any, run: Path, inputs: Path, work: Path) -> None:
    assert polymodel("predict", run, inputs, "-o", work / "a.npz").code == 0
    polymodel("export", run, "-o", work / "net.onnx")
    found = polymodel("predict", work / "net.onnx", inputs, "-o", work / "b.npz", "--batch-size", 3, "--json").json
    assert (found["samples"], found["shapes"]) == (7, {"logits": [7, 2]})
    with np.load(work / "a.npz") as a, np.load(work / "b.npz") as b:
        np.testing.assert_allclose(a["logits"], b["logits"], rtol=1e-5, atol=1e-6)


def test_predict_refuses(polymodel: Any, run: Path, work: Path) -> None:
    np.savez(work / "wrong.npz", z=np.zeros((7, 3), np.float32))
    done = polymodel("predict", run, work / "wrong.npz", "-o", work / "a.npz")
    assert (done.code, "has no array 'x'; it has z" in done.err) == (1, True)
    np.savez(work / "wrong.npz", x=np.zeros((7, 4), np.float32))
    assert "expected float32[batch, 3]" in polymodel("predict", run, work / "wrong.npz", "-o", work / "a.npz").err
    assert not (work / "a.npz").exists()


def test_export_and_verify(polymodel: Any, run: Path, work: Path) -> None:
    done = polymodel("export", run, "--json")
    assert (done.json["verified"], Path(done.json["output"])) == (True, run / "model.onnx")
    props = {p.key: p.value for p in onnx.load(run / "model.onnx").metadata_props}
    assert (props["polymodel.backend"], props["polymodel.seed"]) == ("torch", "0")
    found = polymodel("verify", run / "model.onnx", "--backends", "torch", "--json")
    assert (found.code, found.json["verdict"]) == (0, "pass")
    assert "torch" in polymodel("verify", run / "model.onnx", "--backends", "torch").out


def test_export_holds_the_chosen_checkpoint(polymodel: Any, run: Path, work: Path) -> None:
    first, last = (checkpoint.complete(run / "checkpoints")[i] for i in (0, -1))
    for which in (first, last):
        assert polymodel("export", run, "--checkpoint", which, "-o", work / "net.onnx", "--no-verify").code == 0
        stored = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(work / "net.onnx").graph.initializer}
        for name, value in checkpoint.load(which).parameters.items():
            np.testing.assert_array_equal(stored[name], value)


def test_export_refuses_another_model(polymodel: Any, run: Path, work: Path) -> None:
    text = (run / "config.yaml").read_text().replace("width: 5", "width: 6")
    (run / "config.yaml").write_text(text)
    done = polymodel("export", run, "-o", work / "net.onnx")
    assert (done.code, "is of another model: '0.weight'" in done.err) == (1, True)
    assert not (work / "net.onnx").exists()


def test_verify_refuses_what_is_no_model(polymodel: Any, work: Path) -> None:
    (work / "bad.onnx").write_bytes(b"no model")
    done = polymodel("verify", work / "bad.onnx")
    assert (done.code, done.err.startswith("error: ")) == (1, True)


@pytest.mark.parametrize("command", [["evaluate"], ["export"], ["predict", "inputs.npz", "-o", "o.npz"]], ids=lambda c: c[0])
def test_a_folder_without_a_run(polymodel: Any, work: Path, command: list[str]) -> None:
    done = polymodel(command[0], work / "nothing", *command[1:])
    assert (done.code, "is no run folder" in done.err) == (2, True)
