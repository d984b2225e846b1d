"""passes/randomness.py: Dropout operators become streams."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from polymodel.builder import Builder
from polymodel.errors import GraphError
from polymodel.graph import Graph
from polymodel.passes.randomness import reproducible
from polymodel.spec import TensorSpec
from tests.runtime import run_graph


def graph_of(ratio: Any = 0.25, training: Any = True, *, mask: bool = False, dtype: str = "float32") -> Graph:
    b = Builder()
    with b.active():
        x = b.input("x", TensorSpec(("n", 5), dtype))
        if isinstance(ratio, str):
            ratio = b.input(ratio, TensorSpec(()))
        elif ratio is not None:
            ratio = np.float32(ratio)
        flag = None if training is None else b.constant(training)
        y, kept = b.ops("Dropout", x, ratio, flag, outputs=2)
        b.output("y", y + 1.0)
        if mask:
            b.output("mask", kept)
    return b.finish()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mask", [True, False])
def test_a_mask_comes_in(mask: bool, dtype: str) -> None:
    graph = reproducible(graph_of(mask=mask, dtype=dtype))
    (stream,) = graph.streams.values()
    assert (stream.name, stream.spec, stream.rate) == ("Dropout.mask", TensorSpec(("n", 5), "bool"), 0.25)
    assert [v.name for v in graph.model.graph.inputs] == ["x", "Dropout.mask"]
    x = np.arange(10, dtype=dtype).reshape(2, 5)
    keep = x % 3 != 1
    y, *masks = run_graph(graph, {"x": x, "Dropout.mask": keep})
    np.testing.assert_allclose(y, x * keep / 0.75 + 1, rtol=1e-6)
    for m in masks:
        np.testing.assert_array_equal(m, keep)


def test_the_default_ratio_is_one_half() -> None:
    (stream,) = reproducible(graph_of(None)).streams.values()
    assert stream.rate == 0.5


def test_ratio_zero_draws_nothing() -> None:
    graph = reproducible(graph_of(0.0))
    assert not graph.streams
    np.testing.assert_array_equal(run_graph(graph, {"x": np.zeros((2, 5), np.float32)})[0], 1)


@pytest.mark.parametrize("training", [False, None])
def test_inference_is_left_alone(training: Any) -> None:
    graph = reproducible(graph_of(0.25, training))
    assert not graph.streams
    assert "Dropout" in {n.op_type for n in graph.model.graph}


def test_the_graph_given_stays_as_it_was() -> None:
    graph = graph_of(mask=True)
    before = graph.hash
    reproducible(graph)
    assert Graph(graph.model, graph.inputs, graph.outputs, {}).hash == before


def test_a_computed_ratio_is_refused() -> None:
    with pytest.raises(GraphError, match=r"'Dropout' Dropout: ratio is computed.*randomness='native'"):
        reproducible(graph_of("r"))


def test_dropout_on_an_output_keeps_the_name() -> None:
    b = Builder()
    with b.active():
        b.output("y", b.op("Dropout", b.input("x", TensorSpec(("n", 5))), np.float32(0.5), np.asarray(True)))
    graph = reproducible(b.finish())
    assert [v.name for v in graph.model.graph.outputs] == ["y"]
    onnx.checker.check_model(graph.proto(), full_check=True)
