"""Metrics against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from polymodel import losses, metrics
from polymodel.builder import Builder
from polymodel.errors import ConfigError, ShapeError
from polymodel.spec import TensorSpec


def evaluate(metric: metrics.Metric, output: np.ndarray, target: np.ndarray) -> float:
    b = Builder()
    with b.active():
        x, t = (b.input(n, TensorSpec(a.shape, a.dtype.name)) for n, a in (("x", output), ("t", target)))
        b.output("m", metric.build(b, x, t))
    graph = b.finish()
    assert graph.specs["m"] == TensorSpec((), "float32")
    (value,) = map(np.asarray, ReferenceEvaluator(graph.proto()).run(None, {"x": output, "t": target}))
    return float(value)


def test_accuracy() -> None:
    x = np.array([[1, 2, 3], [3, 2, 1], [5, 5, 0], [0, 1, 1]], np.float32)
    assert evaluate(metrics.Accuracy(), x, np.array([2, 1, 0, 1])) == 0.75


def test_accuracy_of_every_pixel() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    t = np.random.default_rng(1).integers(0, 3, (2, 4))
    assert evaluate(metrics.Accuracy(), x, t) == pytest.approx(float((x.argmax(1) == t).mean()))


def test_accuracy_wants_one_axis_of_classes() -> None:
    with pytest.raises(ShapeError, match="use binary_accuracy"):
        evaluate(metrics.Accuracy(), np.zeros((3, 1), np.float32), np.zeros((3, 1), np.float32))


def test_binary_accuracy() -> None:
    x = np.array([[2.0], [-1.0], [0.5], [-3.0]], np.float32)
    assert evaluate(metrics.BinaryAccuracy(), x, np.array([[1], [1], [1], [0]], np.float32)) == 0.75


def test_mean_absolute_error() -> None:
    x, t = np.array([[1.0, -2.0]], np.float32), np.array([[0.0, 2.0]], np.float32)
    assert evaluate(metrics.MeanAbsoluteError(), x, t) == 2.5


def test_a_loss_is_a_metric_too() -> None:
    metric = metrics.get("mse")
    assert metric.name == "mse"
    assert metrics.get(losses.MSE()) == metric
    assert evaluate(metric, np.array([[3.0]], np.float32), np.array([[1.0]], np.float32)) == 4.0


def test_get() -> None:
    for name in metrics.METRICS:
        assert metrics.get(name).name == {"top_k": "top_5_accuracy"}.get(name, name)
    with pytest.raises(ConfigError, match=r"unknown metric 'f2'; expected one of accuracy, .*cross_entropy"):
        metrics.get("f2")
    with pytest.raises(ConfigError, match="metric 'accuracy'"):
        metrics.get({"name": "accuracy", "top": 5})
