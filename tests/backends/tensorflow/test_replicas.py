"""Programs on devices of their own: the processor as two logical devices, between which TensorFlow copies as between GPUs."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import numpy as np
import tensorflow as tf

kind = tf.config.LogicalDeviceConfiguration
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [kind(), kind()])

import polymodel as pm
from polymodel import nn
from polymodel.accumulation import Accumulation
from polymodel.backend import CompileOptions, Training
from polymodel.optim import SGD
from polymodel.optim.gather import gathering
from polymodel.replicas import Replicas
from polymodel_tensorflow.backend import TensorFlowBackend
from polymodel_tensorflow.program import TensorFlowProgram

layers = (nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3))
model = pm.Model(nn.Sequential(*layers), {"x": pm.TensorSpec(("batch", 5))}, ["y"], seed=0)
training = Training(model.training_graph("cross_entropy"), "loss", SGD(0.5, momentum=0.9), accumulate=Accumulation(1))
backend, graph = TensorFlowBackend(), model.inference_graph("cross_entropy")
x = np.random.default_rng(0).standard_normal((7, 5), dtype=np.float32)
feeds = {"x": x, "target": np.arange(7) % 3}

first = TensorFlowProgram(backend, graph, "cpu", training, CompileOptions())
second = TensorFlowProgram(backend, graph, "cpu:1", gathering(training), CompileOptions())
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
print(*sorted({v.device for p in (first, second) for v in p.variables["parameters"].values()}))
"""


def test_logical_devices_share_a_batch() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert [d.rpartition("/")[2] for d in done.stdout.split()] == ["device:CPU:0", "device:CPU:1"]
