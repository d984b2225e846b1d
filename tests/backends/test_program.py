"""Programs of every backend: the step, what it leaves alone, and what it hands out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from polymodel.backend import Backend
from polymodel.builder import Builder
from polymodel.errors import ShapeError
from polymodel.graph import Graph
from polymodel.optim import SGD, Adam
from polymodel.spec import TensorSpec

Arrays = dict[str, np.ndarray]


def state(program: Any) -> Arrays:
    return {**program.parameters, **program.buffers, **program.slots}


def same(a: Arrays, b: Arrays) -> bool:
    return a.keys() == b.keys() and all(a[n].tobytes() == b[n].tobytes() for n in a)


def test_training_lowers_the_loss_and_moves_everything(trained: Callable[..., Any], batch: Arrays) -> None:
    program = trained()
    before = state(program)
    losses = [float(program.train_step(batch, lr=0.1, step=i + 1)["loss"]) for i in range(20)]
    assert losses[-1] < 0.5 * losses[0]
    after = state(program)
    # A bias in front of a batch normalization has no influence: its gradient is rounding noise.
    assert all(not np.array_equal(before[n], after[n]) for n in before if "conv.bias" not in n)


def test_running_statistics_follow_the_standard(trained: Callable[..., Any], batch: Arrays) -> None:
    program = trained(dtype="float64")
    feeds = {"x": batch["x"].astype(np.float64), "target": batch["target"]}
    w, b = program.parameters["conv.weight"], program.parameters["conv.bias"]
    program.train_step(feeds, lr=0.1, step=1)
    padded = np.pad(feeds["x"], ((0, 0), (0, 0), (1, 1), (1, 1)))
    patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))  # type: ignore[call-overload]
    h = np.einsum("ncijkl,ockl->noij", patches, w) + b[:, None, None]
    keep = float(np.float32(0.9))  # attributes of the standard are float32
    np.testing.assert_allclose(program.buffers["norm.mean"], (1 - keep) * h.mean((0, 2, 3)), rtol=1e-9)
    np.testing.assert_allclose(program.buffers["norm.var"], keep + (1 - keep) * h.var((0, 2, 3)), rtol=1e-9)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_changes_nothing(trained: Callable[..., Any], batch: Arrays, poison: float) -> None:
    program = trained(Adam(0.1))
    program.train_step(batch, lr=0.1, step=1)
    before = state(program)
    bad = {**batch, "x": np.full_like(batch["x"], poison)}
    loss = program.train_step(bad, lr=0.1, step=2)["loss"]
    assert not np.isfinite(float(loss))
    assert same(before, state(program))


def test_frozen_parameters_stay(trained: Callable[..., Any], batch: Arrays) -> None:
    program = trained(freeze=frozenset({"conv.weight", "head.bias"}))
    before = program.parameters
    program.train_step(batch, lr=0.1, step=1)
    moved = {n for n, a in program.parameters.items() if not np.array_equal(a, before[n])}
    assert moved >= {"head.weight", "norm.weight"}
    assert not moved & {"conv.weight", "head.bias"}
    assert "momentum_buffer/conv.weight" not in program.slots


def test_two_programs_take_bit_equal_steps(trained: Callable[..., Any], batch: Arrays) -> None:
    programs = [trained(Adam(0.01)) for _ in range(2)]
    for program in programs:
        for i in range(3):
            program.train_step(batch, lr=0.01, step=i + 1)
    assert same(state(programs[0]), state(programs[1]))


def test_state_written_back_is_read_again(trained: Callable[..., Any], batch: Arrays) -> None:
    first, second = trained(Adam(0.01)), trained(Adam(0.01))
    for i in range(3):
        first.train_step(batch, lr=0.01, step=i + 1)
    second.parameters, second.buffers, second.slots = first.parameters, first.buffers, first.slots
    assert same(state(first), state(second))
    for program in (first, second):
        program.train_step(batch, lr=0.01, step=4)
    assert same(state(first), state(second))


def test_an_unused_parameter_has_gradient_zero(backend: Backend, batch: Arrays) -> None:
    from polymodel.backend import Training

    def graph() -> Graph:
        b = Builder()
        with b.active():
            x = b.input("x", TensorSpec(("n", 3)))
            used, idle = b.parameter("used", np.ones(3, np.float32)), b.parameter("idle", np.ones(3, np.float32))
            b.output("loss", b.op("ReduceSum", x * used, keepdims=0))
            b.output("other", idle * 1.0)
        return b.finish()

    rule = SGD(0.5, momentum=0.9, weight_decay=0.5)
    program = backend.compile(graph(), "cpu", training=Training(graph=graph(), loss="loss", optimizer=rule))
    program.train_step({"x": np.ones((2, 3), np.float32)}, lr=0.5, step=1)
    np.testing.assert_allclose(program.parameters["idle"], 0.75)  # weight decay alone
    gradients = program.gradients({"x": np.ones((2, 3), np.float32)}, {"loss": np.ones((), np.float32)})
    np.testing.assert_array_equal(gradients["idle"], np.zeros(3, np.float32))
    np.testing.assert_array_equal(gradients["used"], np.full(3, 2, np.float32))


def test_what_is_handed_out_is_nobody_elses_memory(trained: Callable[..., Any], backend: Backend) -> None:
    b = Builder()
    with b.active():
        x = b.input("x", TensorSpec((2, 3)))
        w = b.parameter("w", np.ones((2, 3), np.float32))
        b.output("same", b.op("Identity", x))
        b.output("view", b.op("Reshape", w, [3, 2]))
        b.output("fixed", b.op("Identity", b.constant(np.ones(2, np.float32))))
    program = backend.compile(b.finish(), "cpu")
    x_array = np.zeros((2, 3), np.float32)
    got = program.predict({"x": x_array})
    for array in got.values():
        array += 5
    again = program.predict({"x": x_array})
    assert not x_array.any()
    assert (again["view"] == 1).all()
    assert (again["fixed"] == 1).all()


def test_read_only_and_reversed_arrays_are_taken(trained: Callable[..., Any], batch: Arrays) -> None:
    program = trained()
    x = batch["x"][::-1]
    x.setflags(write=False)
    expected = program.predict({"x": np.ascontiguousarray(x)}, ["logits"])["logits"]
    np.testing.assert_array_equal(program.predict({"x": x}, ["logits"])["logits"], expected)


def test_samples_do_not_depend_on_the_size_of_their_batch(trained: Callable[..., Any], batch: Arrays) -> None:
    program = trained()
    whole = program.predict({"x": batch["x"]}, ["logits"])["logits"]
    for n in (1, 3, 8, 3):
        part = program.predict({"x": batch["x"][:n]}, ["logits"])["logits"]
        np.testing.assert_allclose(part, whole[:n], rtol=1e-5, atol=1e-6)


def test_a_cotangent_of_another_shape_is_refused(trained: Callable[..., Any], batch: Arrays) -> None:
    with pytest.raises(ShapeError, match=r"logits.*\(8, 3\)"):
        trained().gradients({"x": batch["x"]}, {"logits": np.ones((8, 1), np.float32)})


def test_predict_and_gradients_change_nothing(trained: Callable[..., Any], batch: Arrays) -> None:
    program = trained()
    before = state(program)
    program.predict(batch)
    program.gradients(batch, {"loss": np.float32(1)})
    for name, array in state(program).items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def test_a_batch_may_be_overwritten_after_the_step(trained: Callable[..., Any], batch: Arrays) -> None:
    kept, reused = trained(), trained()
    for step in range(1, 6):
        fresh = {**batch, "x": np.roll(batch["x"], step, 0)}
        kept.train_step(fresh, lr=0.1, step=step)
        scratch = {**fresh, "x": fresh["x"].copy()}
        reused.train_step(scratch, lr=0.1, step=step)
        scratch["x"][...] = 1e9
    for name, array in state(kept).items():
        np.testing.assert_array_equal(array, state(reused)[name], err_msg=name)
