"""Running a module in ONNX Runtime: the standard's meaning by an engine that is none of the backends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import onnx
import onnxruntime
import pytest

from polymodel import Graph, Model, TensorSpec
from polymodel.nn import Module

Run: TypeAlias = Callable[..., tuple[list[np.ndarray], Model]]


def run_graph(graph: Graph, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """All outputs of a graph, updates included."""
    proto = graph.proto()
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    values: list[np.ndarray] = session.run(None, {**feeds, **graph.parameters, **graph.buffers})
    return values


@pytest.fixture
def run() -> Run:
    """``outputs, model = run(module, x, ...)``: inference with a batch axis of unknown size."""

    def call(
        module: Module, *inputs: np.ndarray, outputs: int = 1, axis: int = 0, seed: int = 0
    ) -> tuple[list[np.ndarray], Model]:
        names = [f"x{i}" for i in range(len(inputs))]
        specs = {
            n: TensorSpec(tuple("batch" if a == axis else d for a, d in enumerate(x.shape)), x.dtype.name)
            for n, x in zip(names, inputs, strict=True)
        }
        model = Model(module, specs, [f"y{i}" for i in range(outputs)], seed)
        return run_graph(model.graph, dict(zip(names, inputs, strict=True))), model

    return call


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
