"""Failing cases become small: one call where one is to blame, two where two are needed, with a script that repeats them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import polymodel as pm
from polymodel import models, nn
from polymodel.builder import Builder
from polymodel.errors import ConfigError
from polymodel.graph import Graph
from polymodel_conformance.mutants.mutant import attributes, nodes
from polymodel_conformance.reduction.folder import write
from polymodel_conformance.reduction.judge import Failure, Judge
from polymodel_conformance.reduction.problem import Problem, find, read
from polymodel_conformance.reduction.reduce import first_failure, reduce
from polymodel_conformance.workers.client import Answer, Unavailable, Worker
from polymodel_conformance.workers.jobs import Job

Send = Callable[[Job], Answer]


@pytest.fixture(scope="module")
def torch() -> Iterator[Send]:
    worker = Worker("torch")
    try:
        worker.start()
    except Unavailable as error:
        pytest.skip(str(error))
    yield worker.call
    worker.close()


def leaky(node: ir.Node, body: ir.Graph) -> None:
    node.op_type = "LeakyRelu"
    node.attributes["alpha"] = ir.AttrFloat32("alpha", 0.25)


def leaky_after_add(node: ir.Node, body: ir.Graph) -> None:
    producer = node.inputs[0].producer() if node.inputs[0] is not None else None
    if producer is not None and producer.op_type == "Add":
        leaky(node, body)


def smallest(asked: list[Problem], send: Send) -> Failure:
    judge = Judge(send, 120.0)
    start = first_failure(asked, judge)
    assert start is not None
    return reduce(start, judge)


def chain() -> Graph:
    b = Builder()
    with b.active():
        x, y = b.input("x", pm.TensorSpec((4, 6))), b.input("y", pm.TensorSpec((6,)))
        t = b.op("Add", b.op("Tanh", x * 2.0), y)
        b.output("z", b.op("Sigmoid", b.op("Relu", t)) - x)
        return b.finish()


def feeds(seed: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"x": rng.standard_normal((4, 6)).astype(np.float32), "y": rng.standard_normal(6).astype(np.float32)}


def test_one_call_is_to_blame(torch: Send, tmp_path: Path) -> None:
    graph = models.reference("lenet").model.graph
    x = {"x": models.reference("lenet").make_batch(2, seed=1)[0]}
    spoil = nodes(["Relu"], leaky)
    judge = Judge(lambda job: torch(spoil(job)), 120.0)
    start = first_failure([Problem(graph, x)], judge)
    assert start is not None
    small = reduce(start, judge)
    assert [n.op_type for n in small.problem.graph.model.graph] == ["Relu"]
    assert small.problem.size[:2] == (1, 1)
    about = write(tmp_path / "bug", small, name="lenet", backend="torch", versions={"torch": "x"}, judge=judge)
    assert about["repeats"]
    assert (about["operators"], about["verdict"]) == (["Relu"], "fail")
    assert json.loads((tmp_path / "bug" / "about.json").read_text()) == about
    for who in ("torch", "onnxruntime", "reference"):  # none of these is spoilt
        done = subprocess.run([sys.executable, tmp_path / "bug" / "run.py", who], capture_output=True, text=True, check=False)
        assert (done.returncode, ": right" in done.stdout) == (0, True), done.stderr


def test_two_calls_are_needed(torch: Send) -> None:
    spoil = nodes(["Relu"], leaky_after_add)
    small = smallest([Problem(chain(), feeds())], lambda job: torch(spoil(job)))
    assert [n.op_type for n in small.problem.graph.model.graph] == ["Add", "Relu"]
    assert small.problem.size[1] <= 2


def test_derivatives(torch: Send, tmp_path: Path) -> None:
    spoil = attributes("Gelu", approximate="tanh")
    model = pm.Model(nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2)), {"x": pm.TensorSpec(("n", 3))}, ["y"])
    x = {"x": np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)}
    judge = Judge(lambda job: torch(spoil(job)), 120.0)
    start = first_failure([Problem(model.graph, x, gradients=True)], judge)
    assert start is not None
    small = reduce(start, judge)
    assert [n.op_type for n in small.problem.graph.model.graph] == ["Gelu"]
    assert small.problem.gradients
    write(tmp_path, small, name="gelu", backend="torch", versions={}, judge=judge)
    done = subprocess.run([sys.executable, tmp_path / "run.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    refused = subprocess.run([sys.executable, tmp_path / "run.py", "reference"], capture_output=True, text=True, check=False)
    assert "only backends have" in refused.stderr


def test_cases_by_their_id() -> None:
    (forward,) = find("forward/generated/conv_odd", "torch")
    assert not forward.gradients
    values, derivatives = find("trajectory/mlp/sgd/step01", "torch")
    assert (values.gradients, derivatives.gradients) == (False, True)
    assert set(values.feeds) == {"x", "target"}
    assert find("random/0/3", "torch")[0].graph.outputs
    with pytest.raises(ConfigError, match="no case 'batch_norm/none'"):
        find("batch_norm/none", "torch")
    with pytest.raises(ConfigError, match="nothing to reduce"):
        find("checkpoint/lenet/resume", "torch")
    with pytest.raises(ConfigError, match="random/SEED/NUMBER"):
        find("random/x", "torch")


def test_files_and_folders(tmp_path: Path) -> None:
    pm.export(chain(), tmp_path / "model.onnx", verify=False)
    np.savez(tmp_path / "inputs.npz", **feeds())
    (found,) = read(tmp_path, None, gradients=True)
    assert found.gradients
    assert np.array_equal(found.feeds["x"], feeds()["x"])
    (made,) = read(tmp_path / "model.onnx", None, gradients=False)
    assert made.feeds["x"].shape == (4, 6)
    np.savez(tmp_path / "short.npz", x=np.zeros((4, 6), np.float32))
    with pytest.raises(ConfigError, match="input 'y'"):
        read(tmp_path / "model.onnx", tmp_path / "short.npz", gradients=False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"has no model\.onnx"):
        read(tmp_path / "empty", None, gradients=False)


def test_what_passes_is_not_reduced(torch: Send) -> None:
    assert first_failure([Problem(chain(), feeds())], Judge(torch, 60.0)) is None
