"""Losses against torch's, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from polymodel import losses
from polymodel.builder import Builder
from polymodel.errors import ConfigError, DataError, ShapeError
from polymodel.spec import TensorSpec


def evaluate(loss: losses.Loss, output: np.ndarray, target: np.ndarray) -> float:
    """The loss by the operators' reference implementations, with a batch of unknown size."""
    b = Builder()
    with b.active():
        x = b.input("x", TensorSpec(("batch", *output.shape[1:]), output.dtype.name))
        t = b.input("t", loss.target(x.spec))
        b.output("loss", loss.build(b, x, t))
    graph = b.finish()
    assert graph.specs["loss"].rank == 0
    (value,) = ReferenceEvaluator(graph.proto()).run(None, {"x": output, "t": target})
    return float(np.asarray(value))


@pytest.mark.parametrize("shape", [(7, 4), (7, 4, 3)])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.3])
@pytest.mark.parametrize("ignore_index", [None, 2, -1])
@pytest.mark.parametrize("weight", [None, (0.5, 1.0, 2.0, 0.25)])
def test_cross_entropy(shape: tuple[int, ...], label_smoothing: float, ignore_index: int | None, weight: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(np.float32)
    t = rng.integers(0, 4, (shape[0], *shape[2:]))
    if ignore_index == -1:
        t[0] = -1
    ours = evaluate(losses.CrossEntropy(label_smoothing, ignore_index, weight), x, t)
    theirs = torch.nn.functional.cross_entropy(
        torch.from_numpy(x),
        torch.from_numpy(t),
        None if weight is None else torch.tensor(weight),
        label_smoothing=label_smoothing,
        ignore_index=-100 if ignore_index is None else ignore_index,
    )
    assert ours == pytest.approx(float(theirs), rel=1e-5)


def test_plain_cross_entropy_is_one_operator() -> None:
    b = Builder()
    with b.active():
        x, t = b.input("x", TensorSpec(("batch", 4))), b.input("t", TensorSpec(("batch",), "int64"))
        losses.CrossEntropy().build(b, x, t)
    assert [n.op_type for n in b.graph] == ["SoftmaxCrossEntropyLoss"]


@pytest.mark.parametrize("pos_weight", [None, 3.0, (0.5, 1.0, 2.0)])
def test_bce_with_logits(pos_weight: Any) -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((6, 3)) * 20).astype(np.float32)
    t = rng.uniform(0, 1, (6, 3)).astype(np.float32)
    theirs = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.from_numpy(x), torch.from_numpy(t), pos_weight=None if pos_weight is None else torch.tensor(pos_weight)
    )
    assert evaluate(losses.BCEWithLogits(pos_weight), x, t) == pytest.approx(float(theirs), rel=1e-5)


def test_mse() -> None:
    rng = np.random.default_rng(0)
    x, t = (rng.standard_normal((6, 3)).astype(np.float32) for _ in range(2))
    assert evaluate(losses.MSE(), x, t) == pytest.approx(float(((x - t) ** 2).mean()), rel=1e-6)


def test_get() -> None:
    assert losses.get("mse") == losses.MSE()
    assert losses.get({"name": "cross_entropy", "weight": [1, 2]}) == losses.CrossEntropy(weight=(1.0, 2.0))
    assert losses.get(losses.MSE()) == losses.MSE()
    with pytest.raises(ConfigError, match=r"unknown loss 'hing'; did you mean 'hinge'\? expected one of cross_entropy, bce_"):
        losses.get("hing")
    with pytest.raises(ConfigError, match=r"cross_entropy.*smoothing"):
        losses.get({"name": "cross_entropy", "smoothing": 0.1})
    with pytest.raises(ConfigError, match=r"label_smoothing is in \[0, 1\), received 1"):
        losses.get({"name": "cross_entropy", "label_smoothing": 1})


def test_outputs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"output \(batch, classes, ...\), received float32\[batch\]"):
        losses.CrossEntropy().target(TensorSpec(("batch",)))
    with pytest.raises(ShapeError, match="2 class weights for 3 classes"):
        losses.CrossEntropy(weight=(1, 2)).target(TensorSpec(("batch", 3)))


@pytest.mark.parametrize(
    ("loss", "target", "words"),
    [
        (losses.CrossEntropy(), [0, 1, 10, 3], r"label 10 of sample 2 is out of range: expected 0 to 9; 1 of 4 labels"),
        (losses.CrossEntropy(), [0, -1], "label -1 of sample 1"),
        (losses.CrossEntropy(ignore_index=-1), [-1, -2], r"label -2 of sample 1 .* 0 to 9 or -1 \(ignored\)"),
        (losses.BCEWithLogits(), [[0.5], [1.5]], "target 1.5 of sample 1 is out of range: expected 0 to 1"),
        (losses.BCEWithLogits(), [[float("nan")]], "target nan of sample 0"),
        (losses.MSE(), [[0.0], [float("inf")]], "target inf of sample 1 is not finite"),
    ],
)
def test_targets_without_meaning_are_refused(loss: losses.Loss, target: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        loss.check(np.asarray(target), TensorSpec(("batch", 10)))


def test_targets_with_meaning_pass() -> None:
    losses.CrossEntropy(ignore_index=-1).check(np.array([0, 9, -1]), TensorSpec(("batch", 10)))
    losses.BCEWithLogits().check(np.array([[0.0], [1.0]]), TensorSpec(("batch", 1)))
    losses.MSE().check(np.array([[-3.0]]), TensorSpec(("batch", 1)))
