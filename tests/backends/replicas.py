"""Two programs on devices of their own are one: what the tests of the backends say of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import polymodel as pm
from polymodel import nn
from polymodel.backend import Backend, Program, Training
from polymodel.graph import Graph
from polymodel.optim import SGD
from polymodel.optim.gather import gathering
from polymodel.training.accumulation import Accumulation
from polymodel.training.replicas import Replicas


def check_sharing(backend: Backend, make: Callable[[Graph, int, Training], Program]) -> tuple[Program, Program]:
    """Three steps, the state and predictions of two programs that have to copy are those of two that share memory.

    Args:
        backend: of both.
        make: a program of a graph on a device, by its number.

    Returns:
        The two programs.
    """
    layers = (nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3))
    model = pm.Model(nn.Sequential(*layers), {"x": pm.TensorSpec(("batch", 5))}, ["y"], seed=0)
    training = Training(model.training_graph("cross_entropy"), "loss", SGD(0.5, momentum=0.9), accumulate=Accumulation(1))
    graph = model.inference_graph("cross_entropy")
    x = np.random.default_rng(0).standard_normal((7, 5), dtype=np.float32)
    feeds = {"x": x, "target": np.arange(7) % 3}

    first, second = make(graph, 0, training), make(graph, 1, gathering(training))
    first.replicas = Replicas([first, second], ("cpu:0", "cpu:1"))
    whole = backend.compile(graph, devices=["cpu:0", "cpu:1"], training=training)
    for step in (1, 2, 3):
        found, want = (p.train_step(feeds, lr=0.5, step=step) for p in (first, whole))
        assert float(found["loss"]) == float(want["loss"])
    for role in ("parameters", "buffers", "slots"):
        for name, value in getattr(whole, role).items():
            np.testing.assert_array_equal(getattr(first, role)[name], value, err_msg=name)
    several = list(first.predict_each([{"x": x}, {"x": x}], ["y"]))
    np.testing.assert_array_equal(several[0]["y"], several[1]["y"])
    return first, second
