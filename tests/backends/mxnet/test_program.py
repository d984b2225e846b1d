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
from polymodel.optim import SGD, Adam, ClipNorm
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor

Batch = dict[str, np.ndarray]
Trained = Callable[..., Any]


def _state(program: Any) -> dict[str, np.ndarray]:
    return {**program.parameters, **program.buffers, **program.slots}


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("optimizer", [SGD(0.1, momentum=0.9), SGD(0.1, momentum=0.3), Adam(0.01)])
def test_a_loss_that_is_not_finite_changes_nothing(trained: Trained, batch: Batch, value: float, optimizer: Any) -> None:
    program = trained(optimizer=optimizer)
    program.train_step(batch, lr=0.1, step=1)
    before = _state(program)
    bad = {**batch, "x": batch["x"].copy()}
    bad["x"][0, 0, 0, 0] = value
    assert not np.isfinite(float(program.train_step(bad, lr=0.1, step=2)["loss"]))
    for name, array in _state(program).items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
    assert np.isfinite(float(program.train_step(batch, lr=0.1, step=2)["loss"]))


def test_running_statistics_follow_the_standard(trained: Trained, batch: Batch) -> None:
    program = trained()
    seen = program.predict(batch, ["Conv.out"])["Conv.out"].astype(np.float64)
    program.train_step(batch, lr=0.1, step=1)
    buffers = program.buffers
    np.testing.assert_allclose(buffers["norm.mean"], 0.1 * seen.mean((0, 2, 3)), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(buffers["norm.var"], 0.9 + 0.1 * seen.var((0, 2, 3)), rtol=1e-5)


def test_predict_and_gradients_change_nothing(trained: Trained, batch: Batch) -> None:
    program = trained()
    before = _state(program)
    program.predict(batch)
    program.gradients(batch, {"loss": np.float32(1)})
    for name, array in _state(program).items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def test_a_batch_may_be_overwritten_after_the_step(trained: Trained, batch: Batch) -> None:
    kept, reused = trained(), trained()
    for step in range(1, 6):
        fresh = {**batch, "x": np.roll(batch["x"], step, 0)}
        kept.train_step(fresh, lr=0.1, step=step)
        scratch = {**fresh, "x": fresh["x"].copy()}
        reused.train_step(scratch, lr=0.1, step=step)
        scratch["x"][...] = 1e9
    for name, array in _state(kept).items():
        np.testing.assert_array_equal(array, _state(reused)[name], err_msg=name)


def test_returned_scalars_are_of_their_own_step(trained: Trained, batch: Batch) -> None:
    program = trained()
    results = [program.train_step(batch, lr=0.1, step=s)["loss"] for s in (1, 2, 3)]
    again = trained()
    assert [float(r) for r in results] == [float(again.train_step(batch, lr=0.1, step=s)["loss"]) for s in (1, 2, 3)]


def test_frozen_parameters_stay(trained: Trained, batch: Batch) -> None:
    program = trained(freeze=frozenset({"conv.weight"}), clip=ClipNorm(1.0))
    before = program.parameters
    program.train_step(batch, lr=0.1, step=1)
    after = program.parameters
    np.testing.assert_array_equal(after["conv.weight"], before["conv.weight"])
    assert (after["head.bias"] != before["head.bias"]).any()
    assert not any(n.endswith("conv.weight") for n in program.slots)


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
