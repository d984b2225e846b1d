"""Running a graph in ONNX Runtime: the standard's meaning by an engine that is none of the backends."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime

from polymodel import Graph


def run_graph(graph: Graph, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """All outputs of a graph, updates included."""
    proto = graph.proto()
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    values: list[np.ndarray] = session.run(None, {**feeds, **graph.parameters, **graph.buffers})
    return values
