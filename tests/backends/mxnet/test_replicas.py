"""Programs on contexts of their own: MXNet copies between cpu(0) and cpu(1) as it does between GPUs."""

from __future__ import annotations

import numpy as np

import polymodel as pm
from polymodel import nn
from polymodel.accumulation import Accumulation
from polymodel.backend import CompileOptions, Training
from polymodel.optim import SGD
from polymodel.optim.gather import gathering
from polymodel.replicas import Replicas
from polymodel_mxnet.backend import MXNetBackend
from polymodel_mxnet.compat import mxnet
from polymodel_mxnet.program import MXNetProgram


def test_contexts_share_a_batch() -> None:
    layers = (nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3))
    model = pm.Model(nn.Sequential(*layers), {"x": pm.TensorSpec(("batch", 5))}, ["y"], seed=0)
    training = Training(model.training_graph("cross_entropy"), "loss", SGD(0.5, momentum=0.9), accumulate=Accumulation(1))
    backend = MXNetBackend()
    graph = model.inference_graph("cross_entropy")
    x = np.random.default_rng(0).standard_normal((7, 5), dtype=np.float32)
    feeds = {"x": x, "target": np.arange(7) % 3}

    first = MXNetProgram(backend, graph, "cpu", mxnet.cpu(0), training, CompileOptions())
    second = MXNetProgram(backend, graph, "cpu:1", mxnet.cpu(1), gathering(training), CompileOptions())
    first.replicas = Replicas([first, second], ("cpu:0", "cpu:1"))
    whole = backend.compile(graph, devices=["cpu:0", "cpu:1"], training=training)
    for step in (1, 2, 3):
        found, want = (p.train_step(feeds, lr=0.5, step=step) for p in (first, whole))
        assert float(found["loss"]) == float(want["loss"])
    for role in ("parameters", "buffers", "slots"):
        for name, value in getattr(whole, role).items():
            np.testing.assert_array_equal(getattr(first, role)[name], value, err_msg=name)
    assert {second.trained[n].ctx for n in second.trained} == {mxnet.cpu(1)}
    feeds = {"x": x}
    several = list(first.predict_each([feeds, feeds], ["y"]))
    np.testing.assert_array_equal(several[0]["y"], several[1]["y"])
