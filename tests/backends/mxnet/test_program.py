"""Programs: what a step changes, what it must not change, and when errors surface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from polymodel.backend import Backend
from polymodel.builder import Builder
from polymodel.errors import BackendError
from polymodel.graph import Graph
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor

Batch = dict[str, np.ndarray]
Trained = Callable[..., Any]


def _state(program: Any) -> dict[str, np.ndarray]:
    return {**program.parameters, **program.buffers, **program.slots}


def test_returned_scalars_are_of_their_own_step(trained: Trained, batch: Batch) -> None:
    program = trained()
    results = [program.train_step(batch, lr=0.1, step=s)["loss"] for s in (1, 2, 3)]
    again = trained()
    assert [float(r) for r in results] == [float(again.train_step(batch, lr=0.1, step=s)["loss"]) for s in (1, 2, 3)]


def test_state_round_trips(trained: Trained, batch: Batch) -> None:
    first, second = trained(), trained()
    first.train_step(batch, lr=0.1, step=1)
    second.parameters, second.buffers, second.slots = first.parameters, first.buffers, first.slots
    for program in (first, second):
        program.train_step(batch, lr=0.05, step=2)
    for name, array in _state(first).items():
        np.testing.assert_array_equal(array, _state(second)[name], err_msg=name)


def test_an_error_inside_mxnet_surfaces_in_its_own_call(backend: Backend, graph_of: Callable[..., Graph]) -> None:
    def build(b: Builder, x: Tensor) -> dict[str, Tensor]:
        return {"y": b.op("Transpose", x, perm=[6, 4, 2, 0, 1, 3, 5])}

    program = backend.compile(graph_of(build, x=TensorSpec((2,) * 7)), "cpu")
    with pytest.raises(BackendError, match="mxnet"):
        program.predict({"x": np.ones((2,) * 7, np.float32)})


def test_two_batch_sizes_give_the_same_per_sample_results(backend: Backend, trained: Trained, batch: Batch) -> None:
    program = trained()
    whole = program.predict(batch, ["logits"])["logits"]
    part = program.predict({"x": batch["x"][:3], "target": batch["target"][:3]}, ["logits"])["logits"]
    np.testing.assert_allclose(part, whole[:3], rtol=1e-5, atol=1e-6)
