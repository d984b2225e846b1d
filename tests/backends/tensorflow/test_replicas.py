"""Programs on devices of their own: the processor as two logical devices, between which TensorFlow copies as between GPUs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = """
import tensorflow as tf

kind = tf.config.LogicalDeviceConfiguration
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [kind(), kind()])

from polymodel.backend import CompileOptions
from polymodel_tensorflow.backend import TensorFlowBackend
from polymodel_tensorflow.program import TensorFlowProgram
from tests.backends.replicas import check_sharing

backend = TensorFlowBackend()

def make(graph, number, training):
    return TensorFlowProgram(backend, graph, f"cpu:{number}" if number else "cpu", training, CompileOptions())

programs = check_sharing(backend, make)
print(*sorted({v.device for p in programs for v in p.variables["parameters"].values()}))
"""


def test_logical_devices_share_a_batch() -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=300, check=False, cwd=root)
    assert done.returncode == 0, done.stderr
    assert [d.rpartition("/")[2] for d in done.stdout.split()] == ["device:CPU:0", "device:CPU:1"]
