"""The Gluon block that shares a program's memory, and MXNet's own files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polymodel.errors import ArtifactError
from polymodel_mxnet import native
from polymodel_mxnet.compat import mxnet
from polymodel_mxnet.dtypes import to_mxnet

Trained = Callable[..., Any]
Batch = dict[str, np.ndarray]


def _arrays(batch: Batch) -> list[Any]:
    return [to_mxnet(a, mxnet.cpu()) for a in batch.values()]


def test_block_computes_and_shares(trained: Trained, batch: Batch) -> None:
    program = trained()
    block = program.native
    assert isinstance(block, mxnet.gluon.HybridBlock)
    assert set(block.collect_params()) == {*program.parameters, *program.buffers}
    np.testing.assert_array_equal(block(*_arrays(batch))[0].asnumpy(), program.predict(batch)["logits"])
    program.train_step(batch, lr=0.1, step=1)
    np.testing.assert_array_equal(block(*_arrays(batch))[0].asnumpy(), program.predict(batch)["logits"])


def test_block_is_differentiable(trained: Trained, batch: Batch) -> None:
    program = trained()
    block = program.native
    with mxnet.autograd.record():
        loss = block(*_arrays(batch))[1]
    loss.backward()
    expected = program.gradients(batch, {"loss": np.float32(1)})
    for name in program.graph.trainable:
        np.testing.assert_allclose(
            block.collect_params()[name].grad().asnumpy(), expected[name], rtol=1e-5, atol=1e-7, err_msg=name
        )


def test_parameter_file_round_trips(trained: Trained, batch: Batch, tmp_path: Path) -> None:
    program = trained()
    program.train_step(batch, lr=0.1, step=1)
    native.save(program.native, tmp_path / "net.params")
    other = trained()
    native.load(other.native, tmp_path / "net.params")
    for name, array in {**program.parameters, **program.buffers}.items():
        np.testing.assert_array_equal({**other.parameters, **other.buffers}[name], array)


def test_damaged_and_foreign_files_are_refused(trained: Trained, tmp_path: Path) -> None:
    block = trained().native
    native.save(block, tmp_path / "net.params")
    (tmp_path / "short.params").write_bytes((tmp_path / "net.params").read_bytes()[:-40])
    mxnet.nd.save(str(tmp_path / "other.params"), {"a": mxnet.nd.ones((2,))})
    for name in ("short", "other"):
        with pytest.raises(ArtifactError, match=name):
            native.load(block, tmp_path / f"{name}.params")


@pytest.mark.filterwarnings("ignore:Cannot decide type:UserWarning")  # MXNet guesses types of inputs from none
def test_exported_symbol_runs_without_polymodel(trained: Trained, batch: Batch, tmp_path: Path) -> None:
    program = trained()
    native.export(program.native, tmp_path / "net", {n: a.shape for n, a in batch.items()})
    block = native.read_symbol(tmp_path / "net", tuple(batch))
    outputs = block(*_arrays(batch))
    np.testing.assert_array_equal(outputs[0].asnumpy(), program.predict(batch)["logits"])
