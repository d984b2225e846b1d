"""What layers do in the training graph: batch statistics, dropout, freezing."""

from __future__ import annotations

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from polymodel import Model, TensorSpec, losses, nn
from polymodel.errors import GraphError
from polymodel.tensor import Tensor
from tests.runtime import run_graph


class Net(nn.Module):
    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4, momentum=0.25)
        self.drop = nn.Dropout(p)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.norm(self.conv(x)))


@pytest.fixture
def model() -> Model:
    return Model(Net(), {"x": TensorSpec(("batch", 3, 5, 5))}, ["y"])


def test_batch_norm_updates_follow_the_standard(rng: np.random.Generator) -> None:
    model = Model(nn.BatchNorm1d(4, eps=1e-3, momentum=0.25), {"x": TensorSpec(("batch", 4))}, ["y"])
    graph = model.training_graph(losses.MSE())
    assert list(graph.updates) == ["running_mean", "running_var"]
    x = rng.standard_normal((6, 4), dtype=np.float32)
    run = ReferenceEvaluator(graph.proto()).run  # ONNX Runtime has no kernel for training_mode=1
    y, _, mean, var = map(np.asarray, run(None, {"x": x, "target": x, **graph.parameters, **graph.buffers}))
    np.testing.assert_allclose(y, (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(mean, 0.25 * x.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(var, 0.75 + 0.25 * x.var(0), rtol=1e-5)


def test_dropout_is_a_stream_named_after_its_layer(model: Model) -> None:
    graph = model.training_graph("mse")
    (stream,) = graph.streams.values()
    assert (stream.name, stream.spec, stream.rate) == ("drop.Dropout.mask", TensorSpec(("batch", 4, 5, 5), "bool"), 0.5)
    assert "Dropout" not in {n.op_type for n in graph.model.graph}


def test_native_dropout_stays_an_operator(model: Model) -> None:
    graph = model.training_graph("mse", randomness="native")
    assert not graph.streams
    assert "Dropout" in {n.op_type for n in graph.model.graph}
    with pytest.raises(GraphError, match="'reproducible' or 'native', received 'mine'"):
        model.training_graph("mse", randomness="mine")


def test_dropout_scales_what_it_keeps(rng: np.random.Generator) -> None:
    model = Model(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.2)), {"x": TensorSpec(("batch", 4))}, ["y"])
    graph = model.training_graph("mse")
    (stream,) = graph.streams
    x = rng.standard_normal((3, 4), dtype=np.float32)
    mask = rng.random((3, 4)) < 0.5
    y, _ = run_graph(graph, {"x": x, "target": x, stream: mask})
    (plain,) = run_graph(model.graph, {"x": x})
    np.testing.assert_allclose(y, plain * mask / 0.8, rtol=1e-5)


def test_a_frozen_batch_norm_uses_its_statistics(model: Model) -> None:
    assert model.freeze("norm.weight") == ["norm.weight"]
    assert model.training_graph("mse").updates  # its bias is still trained
    model.freeze("norm.bias")
    graph = model.training_graph("mse")
    assert graph.updates == {}
    assert graph.trainable == ("conv.weight", "conv.bias")
    assert graph.frozen == {"norm.weight", "norm.bias"}
    model.unfreeze("norm*")
    assert list(model.training_graph("mse").updates) == ["norm.running_mean", "norm.running_var"]


def test_training_and_inference_graphs_have_the_same_state(model: Model) -> None:
    training, inference = model.training_graph("mse"), model.inference_graph("mse")
    assert list(training.parameters) == list(inference.parameters)
    assert list(training.buffers) == list(inference.buffers)
    assert training.outputs == inference.outputs == ("y", "loss")
