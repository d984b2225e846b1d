"""program.py: the step, what it leaves alone, and what it hands out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from polymodel.backend import Backend
from polymodel.builder import Builder
from polymodel.optim import Adam
from polymodel.spec import TensorSpec
from polymodel_tensorflow.compat import tf

Arrays = dict[str, np.ndarray]


def state(program: Any) -> Arrays:
    return {**program.parameters, **program.buffers, **program.slots}


def same(a: Arrays, b: Arrays) -> bool:
    return a.keys() == b.keys() and all(a[n].tobytes() == b[n].tobytes() for n in a)


@pytest.mark.parametrize("mode", ["native", "xla"])
def test_scalars_of_a_step_are_tensors_that_float_reads(
    trained: Callable[..., Any], batch: Arrays, mode: str
) -> None:
    loss = trained(compile=mode).train_step(batch, lr=0.1, step=1)["loss"]
    assert tf.is_tensor(loss)
    assert loss.shape == ()
    assert np.isfinite(float(loss))


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_inside_xla_a_loss_that_is_not_finite_changes_nothing(
    trained: Callable[..., Any], batch: Arrays, poison: float
) -> None:
    program = trained(Adam(0.1), compile="xla")
    program.train_step(batch, lr=0.1, step=1)
    before = state(program)
    program.train_step({**batch, "x": np.full_like(batch["x"], poison)}, lr=0.1, step=2)
    assert same(before, state(program))
    program.train_step(batch, lr=0.1, step=3)
    assert not same(before, state(program))


def test_memory_that_was_written_in_is_not_trained(trained: Callable[..., Any], batch: Arrays) -> None:
    program = trained()
    given = {n: a.copy() for n, a in program.parameters.items()}
    kept = {n: a.copy() for n, a in given.items()}
    program.parameters = given
    for step in range(3):
        program.train_step(batch, lr=0.1, step=step + 1)
    assert same(given, kept)
    assert not same(program.parameters, kept)


def test_statistics_of_a_batch_normalization_can_be_differentiated(backend: Backend) -> None:
    b = Builder(training=True)
    with b.active():
        x = b.input("x", TensorSpec((4, 2, 3, 3), "float32"))
        ones, zeros = (b.constant(np.full(2, v, np.float32)) for v in (1, 0))
        _, mean, var = b.ops("BatchNormalization", x, ones, zeros, zeros, ones, outputs=3, training_mode=1)
        b.output("mean", mean)
        b.output("var", var)
    program = backend.compile(b.finish(), "cpu")
    array = np.random.default_rng(0).standard_normal((4, 2, 3, 3)).astype(np.float32)
    one = np.ones(2, np.float32)
    found = program.gradients({"x": array}, {"mean": one, "var": one})["x"]
    centred = array - array.mean((0, 2, 3), keepdims=True)
    np.testing.assert_allclose(found, 0.1 * (1 + 2 * centred) / 36, rtol=1e-4)


def test_one_compiled_function_serves_all_batch_sizes(trained: Callable[..., Any], batch: Arrays) -> None:
    program = trained()
    for n in (1, 3, 8):
        assert program.predict({"x": batch["x"][:n]}, ["logits"])["logits"].shape == (n, 3)
    assert len([k for k in program._compiled if k[0] == "predict"]) == 1
