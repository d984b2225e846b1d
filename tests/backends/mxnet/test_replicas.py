"""Programs on contexts of their own: MXNet copies between cpu(0) and cpu(1) as it does between GPUs."""

from __future__ import annotations

import pytest

from polymodel.backend import Backend, CompileOptions, Training
from polymodel.graph import Graph
from polymodel_mxnet import layout
from polymodel_mxnet.compat import mxnet
from polymodel_mxnet.program import MXNetProgram
from tests.backends.replicas import check_sharing


@pytest.mark.parametrize("large", [8, 1 << 16])
def test_contexts_share_a_batch(backend: Backend, large: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_LARGE", large)

    def make(graph: Graph, number: int, training: Training) -> MXNetProgram:
        return MXNetProgram(backend, graph, f"cpu:{number}" if number else "cpu", mxnet.cpu(number), training, CompileOptions())

    _, second = check_sharing(backend, make)
    assert isinstance(second, MXNetProgram)
    assert {second.trained[n].ctx for n in second.trained} == {mxnet.cpu(1)}
