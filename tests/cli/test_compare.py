"""polymodel compare: what it takes, prints and returns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polymodel as pm
from polymodel import nn


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    for name, seed in (("net", 0), ("other", 1)):
        model = pm.Model(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), {"x": pm.TensorSpec(("n", 3))}, ["y"], seed=seed)
        pm.export(model.graph, folder / f"{name}.onnx", verify=False)
    np.savez(folder / "x.npz", x=np.ones((5, 3), np.float32))
    (folder / "user.py").write_text("import torch\nmodel = torch.nn.Linear(3, 2)\nnumber = 3\n", encoding="utf-8")
    return folder


def test_two_that_agree(polymodel: Any, files: Path, tmp_path: Path) -> None:
    options = ["--inputs", files / "x.npz", "--picture", tmp_path / "growth.svg"]
    done = polymodel("compare", f"{files}/net.onnx@torch", f"{files}/net.onnx@reference", *options, "--json")
    assert done.code == 0, done.err
    assert (done.json["verdict"], done.json["inputs"]) == ("pass", {"x": "float32[5, 3]"})
    assert [len(s["layers"]) for s in done.json["sides"]] == [3, 3]
    assert (tmp_path / "growth.svg").read_text().startswith("<svg")


def test_two_that_differ(polymodel: Any, files: Path) -> None:
    done = polymodel("compare", files / "net.onnx", files / "other.onnx", "--no-layers")
    assert done.code == 1
    assert "mean different things" in " ".join(done.out.split())


@pytest.mark.parametrize(
    ("a", "b", "options", "code", "message"),
    [
        ("net.onnx@caffe", "net.onnx", [], 2, "unknown backend 'caffe'"),
        ("net.onnx@", "net.onnx", [], 2, "expected SOMETHING@RUNNER"),
        ("net.onnx@torch:CPU", "net.onnx", [], 2, "only onnxruntime takes an execution provider"),
        ("net.onnx@onnxruntime:NoSuchExecutionProvider", "net.onnx", [], 3, "has no NoSuchExecutionProvider here; it has"),
        ("nowhere.onnx", "net.onnx", [], 1, "cannot read"),
        ("nowhere", "net.onnx", [], 2, "no .onnx file, run folder"),
        ("user.py:nothing", "net.onnx", [], 2, "has no 'nothing'"),
        ("user.py:number", "net.onnx", [], 2, "expected a torch.nn.Module"),
        ("user.py:model", "user.py:model", [], 2, "--graph MODEL.onnx"),
        ("net.onnx", "net.onnx", ["--picture", "a.png"], 2, "ends in .svg"),
        ("net.onnx", "net.onnx", ["--picture", "a.svg", "--no-layers"], 2, "leave --no-layers out"),
        ("net.onnx", "net.onnx", ["--python", "torch"], 2, "expected BACKEND=PATH"),
        ("net.onnx@torch", "net.onnx", ["--python", "torch=/no/python"], 3, "cannot start /no/python"),
        ("net.onnx", "net.onnx", ["--inputs", "user.py"], 1, "expected a .npz file"),
    ],
)
def test_refusals(
    polymodel: Any, files: Path, monkeypatch: pytest.MonkeyPatch, a: str, b: str, options: list[str], code: int, message: str
) -> None:
    monkeypatch.chdir(files)
    done = polymodel("compare", a, b, *options)
    assert (done.code, message in done.err) == (code, True), done.err


def test_modules_judged_by_a_graph(polymodel: Any, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)
    done = polymodel("compare", "user.py:model", "user.py:model", "--graph", "net.onnx", "--json")
    assert done.code == 1  # random weights, both times others than those of the graph
    assert [s["right"] for s in done.json["sides"]] == [False, False]
