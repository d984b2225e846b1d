"""passes/to_dtype.py: the same graph in float64."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from polymodel import models
from polymodel.builder import Builder
from polymodel.passes.to_dtype import to_dtype
from polymodel.spec import TensorSpec
from tests.runtime import run_graph


@pytest.mark.parametrize("name", ["mlp", "lenet", "resnet18", "transformer"])
def test_reference_models_in_float64(name: str) -> None:
    reference = models.reference(name)
    graph = reference.model.training_graph("cross_entropy", ["accuracy"])
    wide = to_dtype(graph, "float64")
    onnx.checker.check_model(wide.proto())
    floats = {v.dtype for v in wide.model.graph.inputs} | {v.dtype for n in wide.model.graph for v in n.outputs}
    assert "FLOAT" not in {d.name for d in floats if d is not None}
    assert all(v.dtype == np.float64 for v in (*wide.parameters.values(), *wide.buffers.values()))
    assert graph.specs["x"].dtype == "float32"
    assert to_dtype(wide, "float32", source="float64").hash == graph.hash


def test_constants_casts_and_integers() -> None:
    b = Builder()
    with b.active():
        x = b.input("x", TensorSpec(("n",)))
        n = b.input("n", TensorSpec(("n",), "int64"))
        b.output("y", x * np.float32(0.1) + b.op("Cast", n, to=1))
    wide = to_dtype(b.finish(), "float64")
    assert wide.specs["n"].dtype == "int64"
    (y,) = run_graph(wide, {"x": np.array([3.0]), "n": np.array([2])})
    assert y.dtype == np.float64
    assert y[0] == pytest.approx(3 * float(np.float32(0.1)) + 2, rel=1e-15)


def test_the_graph_given_stays_as_it_was() -> None:
    graph = models.reference("mlp").model.graph
    before = graph.copy().hash
    to_dtype(graph, "float64")
    assert graph.copy().hash == before
