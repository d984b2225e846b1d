"""The reference models have the parameters of the hand-written networks that benchmarks compare them with."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from polymodel import models
from polymodel.errors import ConfigError
from polymodel.passes.specialize import specialize
from tests.runtime import run_graph

PARAMETERS = {"mlp": 669706, "lenet": 431080, "resnet18": 11173962, "lstm": 100618, "transformer": 406282}


@pytest.mark.parametrize("name", models.REFERENCE)
def test_a_model_is_ready_to_train(name: str) -> None:
    reference = models.reference(name, seed=1)
    graph = reference.model.training_graph("cross_entropy", ["accuracy"])
    assert sum(v.size for v in graph.parameters.values()) == PARAMETERS[name]
    assert graph.inputs == ("x", "target")
    assert graph.outputs == ("logits", "loss", "accuracy")
    x, y = reference.make_batch(reference.batch, seed=2)
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((reference.batch, *reference.shape), "float32", (len(x),), "int64")
    plan = specialize(graph, (*graph.outputs, *graph.updates.values()), {"batch": reference.batch})
    assert all(spec.is_static for node in plan.nodes for spec in node.outputs)
    onnx.checker.check_model(graph.proto(), full_check=True)


@pytest.mark.parametrize("name", models.REFERENCE)
def test_onnx_runtime_runs_it_with_any_batch(name: str) -> None:
    reference = models.reference(name)
    graph = reference.model.inference_graph("cross_entropy", ["accuracy"])
    x, y = reference.make_batch(3)
    logits, loss, accuracy = run_graph(graph, {"x": x, "target": y})
    assert logits.shape == (3, 10)
    log_p = torch.log_softmax(torch.from_numpy(logits), 1).numpy()
    assert loss == pytest.approx(-log_p[np.arange(3), y].mean(), rel=1e-5)
    assert accuracy == pytest.approx((logits.argmax(1) == y).mean())


@pytest.mark.parametrize("name", models.REFERENCE)
def test_the_graph_has_no_shape_arithmetic(name: str) -> None:
    graph = models.reference(name).model.graph
    assert not {"Shape", "Size", "Range", "ConstantOfShape"} & {n.op_type for n in graph.model.graph}


def test_batches_differ_by_seed_only() -> None:
    reference = models.reference("mlp")
    np.testing.assert_array_equal(reference.make_batch(4, 1)[0], reference.make_batch(4, 1)[0])
    assert not np.array_equal(reference.make_batch(4, 1)[0], reference.make_batch(4, 2)[0])


def test_unknown_models_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown reference model 'vgg'; expected one of mlp, lenet"):
        models.reference("vgg")


def test_digits_cnn() -> None:
    model = models.digits_cnn()
    (logits,) = run_graph(model.graph, {"x": np.zeros((2, 1, 8, 8), np.float32)})
    assert logits.shape == (2, 10)
    assert len(model.training_graph("cross_entropy").streams) == 1
    assert not models.digits_cnn(dropout=0.0).training_graph("cross_entropy").streams
