"""passes/training_mode.py: imported graphs switch to training."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from polymodel.builder import Builder
from polymodel.errors import GraphError
from polymodel.graph import Graph
from polymodel.passes.training_mode import training_mode
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor

C = 3
ONE, ZERO = np.ones(C, np.float32), np.zeros(C, np.float32)


def graph_with(statistics: str, *, mean_of: bool = False) -> Graph:
    """x -> BatchNormalization -> Dropout -> y, running statistics as "buffer", "parameter" or "constant"."""
    b = Builder()
    with b.active():
        x = b.input("x", TensorSpec(("n", C)))
        scale, bias = b.parameter("scale", ONE), b.parameter("bias", ZERO)

        def state(name: str, value: np.ndarray) -> Tensor:
            if statistics == "constant":
                return b.constant(value)
            return b.buffer(name, value) if statistics == "buffer" else b.parameter(name, value)

        mean, var = state("mean", ZERO), state("var", ONE)
        if mean_of:
            mean = mean * 2.0
        y = b.op("BatchNormalization", x, scale, bias, mean, var, momentum=0.75, epsilon=1e-3)
        b.output("y", b.op("Dropout", y, np.float32(0.25)))
    return b.finish()


@pytest.mark.parametrize("statistics", ["buffer", "parameter", "constant"])
def test_statistics_become_buffers_with_updates(statistics: str) -> None:
    graph = training_mode(graph_with(statistics))
    names = ["mean", "var"] if statistics != "constant" else ["const_0.0_0.0_0.0", "const_1.0_1.0_1.0"]
    assert list(graph.buffers) == names
    assert list(graph.updates) == names
    assert list(graph.parameters) == ["scale", "bias"]
    assert [v.name for v in graph.model.graph.inputs] == ["x", "scale", "bias", *names]
    assert [v.name for v in graph.model.graph.outputs] == ["y", *graph.updates.values()]
    onnx.checker.check_model(graph.proto(), full_check=True)
    x = np.random.default_rng(0).standard_normal((8, C)).astype(np.float32)
    proto = graph.proto()
    for node in proto.graph.node:
        if node.op_type == "Dropout":
            del node.input[2:]
    _, mean, var = map(
        np.asarray, ReferenceEvaluator(proto).run(None, {"x": x, **graph.parameters, **graph.buffers})
    )
    np.testing.assert_allclose(mean, 0.25 * x.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(var, 0.75 + 0.25 * x.var(0), rtol=1e-5)


def test_the_graph_given_stays_as_it_was() -> None:
    graph = graph_with("constant")
    before = graph.hash
    training_mode(graph)
    assert Graph(graph.model, graph.inputs, graph.outputs, graph.parameters).hash == before


def test_dropout_is_switched_on() -> None:
    (node,) = [n for n in training_mode(graph_with("buffer")).model.graph if n.op_type == "Dropout"]
    flag = node.inputs[2]
    assert flag is not None
    assert flag.const_value is not None
    assert bool(flag.const_value.numpy())


def test_frozen_layers_keep_their_statistics() -> None:
    graph = graph_with("buffer")
    frozen = Graph(
        graph.model, graph.inputs, graph.outputs, graph.parameters, graph.buffers, frozen=frozenset(["scale", "bias"])
    )
    assert training_mode(frozen).updates == {}


def test_computed_statistics_are_refused() -> None:
    with pytest.raises(GraphError, match=r"'BatchNormalization' BatchNormalization: statistic 'Mul\.out' is computed"):
        training_mode(graph_with("buffer", mean_of=True))
