"""The interface of the onnx package, as its documents use it: BackendTest, run_model, run_node, supports_device."""

from __future__ import annotations

import unittest
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.backend.test import BackendTest

import polymodel as pm
from polymodel.errors import UnknownBackend

BACKENDS = ("torch", "tensorflow", "mxnet")
each = pytest.mark.parametrize("name", BACKENDS)


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    """y = relu(x + b) with a stored b."""
    nodes = [helper.make_node("Add", ["x", "b"], ["s"]), helper.make_node("Relu", ["s"], ["y"])]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, 2]) for n in "xy")
    b = helper.make_tensor("b", TensorProto.FLOAT, [2], [1.0, -1.0])
    graph = helper.make_graph(nodes, "g", [x], [y], [b])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # making the suite's own tests overflows here and there
def test_backend_test_as_documented() -> None:
    suite = BackendTest(pm.onnx_backend("torch"), __name__)
    suite.include("test_relu_cpu").include("test_add_bcast_cpu").include("test_bernoulli_seed_cpu")
    suite.xfail("test_bernoulli_seed_cpu")
    cases = suite.test_cases
    assert {"OnnxBackendNodeModelTest", "OnnxBackendSimpleModelTest"} <= set(cases)
    result = unittest.TestResult()
    suite.test_suite.run(result)
    ran = result.testsRun - len(result.skipped)
    assert (ran, result.failures, result.errors, len(result.expectedFailures)) == (3, [], [], 1)


@each
def test_run_model_and_prepare(name: str, model: onnx.ModelProto) -> None:
    backend: Any = pm.onnx_backend(name)  # the package's own annotations leave out what it does
    x = np.array([[-3.0, 3.0], [0.5, 0.5]], np.float32)
    expected = np.array([[0.0, 2.0], [1.5, 0.0]], np.float32)
    (y,) = backend.run_model(model, [x])
    np.testing.assert_array_equal(y, expected)
    rep = backend.prepare(model)
    for rows in (1, 2):
        np.testing.assert_array_equal(rep.run([x[:rows]])[0], expected[:rows])
    np.testing.assert_array_equal(rep.run({"x": x})[0], expected)


@each
def test_run_node(name: str) -> None:
    node = helper.make_node("Split", ["x"], ["a", "b"], axis=1, num_outputs=2)
    backend: Any = pm.onnx_backend(name)
    a, b = backend.run_node(node, [np.arange(6, dtype=np.float32).reshape(2, 3)])
    np.testing.assert_array_equal(a, [[0, 1], [3, 4]])
    np.testing.assert_array_equal(b, [[2], [5]])


@each
def test_run_node_of_an_older_opset(name: str) -> None:
    node = helper.make_node("Clip", ["x"], ["y"], min=-1.0, max=1.0)
    backend: Any = pm.onnx_backend(name)
    (y,) = backend.run_node(node, [np.array([-2.0, 0.5, 2.0], np.float32)], opset_version=6)
    np.testing.assert_array_equal(y, np.array([-1.0, 0.5, 1.0], np.float32))


@each
def test_supports_device(name: str) -> None:
    backend = pm.onnx_backend(name)
    assert backend.supports_device("CPU")
    assert not backend.supports_device("TPU")
    cuda = any(d.startswith("cuda") for d in pm.get_backend(name).devices())
    assert backend.supports_device("CUDA") == cuda


@each
def test_a_class_for_each_backend(name: str) -> None:
    assert pm.onnx_backend(name) is pm.onnx_backend(name)
    assert issubclass(pm.onnx_backend(name), onnx.backend.base.Backend)


def test_an_unknown_backend(model: onnx.ModelProto) -> None:
    with pytest.raises(UnknownBackend, match="caffe"):
        pm.onnx_backend("caffe").prepare(model)
