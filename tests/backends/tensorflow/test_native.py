"""native.py: the tf.Module and its SavedModel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polymodel.errors import ArtifactError, GraphError
from polymodel_tensorflow.compat import tf
from polymodel_tensorflow.native import load, save

Arrays = dict[str, np.ndarray]


def logits(program: Any, x: np.ndarray) -> np.ndarray:
    found: np.ndarray = program.predict({"x": x}, ["logits"])["logits"]
    return found


def test_it_is_a_module_that_shares_the_programs_state(trained: Callable[..., Any], batch: Arrays) -> None:
    program = trained(freeze=frozenset({"head.bias"}))
    module = program.native
    assert isinstance(module, tf.Module)
    assert set(module.state) == {*program.parameters, *program.buffers}
    assert len(module.trainable_variables) == len(program.graph.trainable)
    before = module(**batch)["logits"].numpy()
    close: dict[str, Any] = {"rtol": 2e-6, "atol": 2e-6}  # the module can be differentiated, predictions take a kernel that cannot
    np.testing.assert_allclose(before, logits(program, batch["x"]), **close)
    program.train_step(batch, lr=0.1, step=1)
    after = module(batch["x"], batch["target"])["logits"].numpy()
    np.testing.assert_allclose(after, logits(program, batch["x"]), **close)
    assert np.abs(before - after).max() > 1e-3
    module.state["head.bias"].assign_add([100.0, 0.0, 0.0])
    assert (logits(program, batch["x"])[:, 0] > 50).all()


def test_it_can_be_differentiated_by_a_tape(trained: Callable[..., Any], batch: Arrays) -> None:
    program = trained()
    with tf.GradientTape() as tape:
        loss = program.native(**batch)["loss"]
    found = tape.gradient(loss, program.native.state["head.weight"])
    expected = program.gradients(batch, {"loss": np.ones((), np.float32)})["head.weight"]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_a_call_without_an_input_names_them(trained: Callable[..., Any], batch: Arrays) -> None:
    with pytest.raises(GraphError, match="x, target"):
        trained().native(batch["x"])


def test_a_saved_model_computes_the_same_elsewhere(trained: Callable[..., Any], batch: Arrays, tmp_path: Path) -> None:
    program = trained()
    program.train_step(batch, lr=0.1, step=1)
    save(program.native, tmp_path / "saved")
    serve = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    for n in (1, 5):
        feeds = {name: tf.constant(array[:n]) for name, array in batch.items()}
        np.testing.assert_allclose(serve(**feeds)["logits"].numpy(), logits(program, batch["x"][:n]), atol=1e-6)


def test_a_saved_model_is_read_back(trained: Callable[..., Any], batch: Arrays, tmp_path: Path) -> None:
    first, second = trained(), trained()
    for step in range(2):
        first.train_step(batch, lr=0.1, step=step + 1)
    save(first.native, tmp_path / "saved")
    load(second.native, tmp_path / "saved")
    for role in ("parameters", "buffers"):
        for name, array in getattr(first, role).items():
            np.testing.assert_array_equal(getattr(second, role)[name], array)


def test_a_folder_that_is_no_saved_model(trained: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no SavedModel"):
        load(trained().native, tmp_path)


def test_a_saved_model_of_something_else(trained: Callable[..., Any], tmp_path: Path) -> None:
    other = tf.Module()
    other.state = {"head.bias": tf.Variable(tf.zeros(7))}
    tf.saved_model.save(other, str(tmp_path / "other"))
    with pytest.raises(ArtifactError, match=r"differ in .*head\.bias"):
        load(trained().native, tmp_path / "other")
