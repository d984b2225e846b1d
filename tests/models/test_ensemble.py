"""Ensembles of models trained on different backends: one graph, one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from polymodel import Model, TensorSpec, Trainer, compile, export, load_onnx, models, nn
from polymodel.artifact import runtime
from polymodel.errors import GraphError
from tests.installed import NAMES, installed
from tests.models.conftest import Judge

RNG = np.random.default_rng(0)
X = RNG.standard_normal((150, 6), dtype=np.float32)
Y = (np.abs(X[:, 0]) + X[:, 1] > 0.8).astype(np.int64) + (X[:, 2] > 1)


def net(kind: int) -> nn.Module:
    if kind == 0:
        return models.MLP((6, 16, 3))
    if kind == 1:
        return nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.GELU(), nn.Dropout(0.2), nn.Linear(12, 3))
    return nn.Sequential(nn.Linear(6, 10), nn.Tanh(), nn.Dropout(0.1), nn.Linear(10, 3))


@pytest.fixture(scope="module")
def members() -> list[Model]:
    """Three models, each trained on another backend."""
    found = []
    for i, backend in enumerate(NAMES):
        model = Model(net(i), {"x": TensorSpec(("batch", 6))}, ["logits"], seed=i)
        trainer = Trainer(model, "cross_entropy", {"name": "adam", "lr": 2e-2}, backend=installed(backend), device="cpu", seed=i)
        trainer.fit((X, Y), epochs=4, progress=False)
        found.append(model)
    return found


def probabilities(members: list[Model]) -> np.ndarray:
    """softmax of each member, (member, batch, classes), float64."""
    found = []
    for member in members:
        logits = compile(member.graph, backend="torch", device="cpu").predict({"x": X})["logits"].astype(np.float64)
        shares = np.exp(logits - logits.max(1, keepdims=True))
        found.append(shares / shares.sum(1, keepdims=True))
    return np.stack(found)


def run_file(model: Model, path: Path) -> np.ndarray:
    """Exported, verified, and run by ONNX Runtime."""
    export(model.graph, path)
    logits: np.ndarray = runtime.run(runtime.session(path), {"x": X})["logits"]
    return logits


def test_averaging_is_the_mean_of_the_probabilities(members: list[Model], judge: Judge, tmp_path: Path) -> None:
    model = models.averaging(members)
    logits = run_file(model, tmp_path / "ensemble.onnx")
    np.testing.assert_allclose(np.exp(logits), probabilities(members).mean(0), rtol=1e-4, atol=1e-6)
    judge(model.graph, {"x": X}, {"onnxruntime": {"logits": logits}}, NAMES)
    assert load_onnx(tmp_path / "ensemble.onnx").hash == model.graph.hash


def test_voting_counts_the_choices(members: list[Model], tmp_path: Path) -> None:
    logits = run_file(models.voting(members), tmp_path / "ensemble.onnx")
    votes = np.eye(3)[probabilities(members).argmax(2)].mean(0)
    np.testing.assert_allclose(np.exp(logits), votes, rtol=1e-5, atol=1e-6)


def test_stacking_trains_the_head_only(members: list[Model], backend: str, tmp_path: Path) -> None:
    model = models.stacking(members, seed=1)
    before = model.values
    first = compile(model.graph, backend=backend, device="cpu").predict({"x": X})["logits"]
    np.testing.assert_allclose(first, 4 * probabilities(members).mean(0), rtol=1e-4, atol=1e-5)
    trainer = Trainer(model, "cross_entropy", {"name": "adam", "lr": 5e-2}, backend=backend, device="cpu")
    history = trainer.fit((X, Y), epochs=10, progress=False)
    assert history[-1]["loss"] < history[0]["loss"]
    changed = [n for n, v in model.values.items() if not np.array_equal(v, before[n])]
    assert changed == ["head.weight", "head.bias"]
    run_file(model, tmp_path / "stacked.onnx")


def test_dropout_of_members_is_left_out(members: list[Model]) -> None:
    graph = models.stacking(members).training_graph("cross_entropy")
    assert not graph.streams
    assert not graph.updates


def test_members_that_do_not_fit_are_refused(members: list[Model]) -> None:
    with pytest.raises(GraphError, match="two members or more, received 1"):
        models.averaging(members[:1])
    other = Model(models.MLP((5, 3)), {"x": TensorSpec(("batch", 5))}, ["logits"])
    with pytest.raises(GraphError, match=r"member 1 has the inputs x float32\[batch, 5\], member 0 has x float32\[batch, 6\]"):
        models.averaging([members[0], other])
    more = Model(models.MLP((6, 4)), {"x": TensorSpec(("batch", 6))}, ["logits"])
    with pytest.raises(GraphError, match=r"member 1 returns float32\[batch, 4\], member 0 float32\[batch, 3\]"):
        models.voting([members[0], more])
    with pytest.raises(GraphError, match="a member has no output 'y'; its outputs are logits"):
        models.averaging(members, "y")
