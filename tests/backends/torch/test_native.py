"""native.py: the program as a torch.nn.Module and its files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import polymodel as pm
from polymodel import nn
from polymodel.backend import Backend
from polymodel.builder import Builder
from polymodel.errors import ArtifactError
from polymodel.spec import TensorSpec
from polymodel_torch import native

Arrays = dict[str, np.ndarray]


def test_state_dict_has_the_names_and_the_memory(trained: Callable[..., Any]) -> None:
    program = trained()
    module = program.native
    assert isinstance(module, torch.nn.Module)
    assert set(module.state_dict()) == {*program.parameters, *program.buffers}
    with torch.no_grad():
        module.get_parameter("head.bias").fill_(7)
    assert (program.parameters["head.bias"] == 7).all()
    program.parameters = {"head.bias": np.full(3, 8, np.float32)}
    assert (module.state_dict()["head.bias"] == 8).all()


def test_calling_it_predicts_and_differentiates(trained: Callable[..., Any], batch: Arrays) -> None:
    program = trained()
    logits, loss = program.native(torch.from_numpy(batch["x"]), target=torch.from_numpy(batch["target"]))
    expected = program.predict(batch)
    np.testing.assert_array_equal(logits.detach().numpy(), expected["logits"])
    loss.backward()
    gradients = program.gradients(batch, {"loss": np.ones((), np.float32)})
    for name, parameter in program.native.named_parameters():
        np.testing.assert_allclose(parameter.grad.numpy(), gradients[name], rtol=1e-5, atol=1e-7)


def test_an_optimizer_of_torch_trains_the_program(trained: Callable[..., Any], batch: Arrays) -> None:
    program = trained()
    module, before = program.native, program.parameters
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    module(torch.from_numpy(batch["x"]), torch.from_numpy(batch["target"]))[1].backward()
    optimizer.step()
    assert not np.array_equal(program.parameters["head.weight"], before["head.weight"])


@pytest.mark.parametrize("name", ["state.safetensors", "state.pt"])
def test_files_carry_the_state(trained: Callable[..., Any], batch: Arrays, tmp_path: Path, name: str) -> None:
    first, second = trained(), trained()
    first.train_step(batch, lr=0.1, step=1)
    native.save(first.native, tmp_path / name)
    native.load(second.native, tmp_path / name)
    for role in ("parameters", "buffers"):
        a, b = getattr(first, role), getattr(second, role)
        assert all(np.array_equal(a[n], b[n]) for n in a)


@pytest.mark.parametrize("name", ["state.safetensors", "state.pt"])
def test_other_files_are_refused(trained: Callable[..., Any], tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ArtifactError, match="does not fit"):
        native.load(trained().native, path)
    native.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(ArtifactError, match="does not fit"):
        native.load(trained().native, path)


def test_a_name_may_begin_another(backend: Backend) -> None:
    b = Builder()
    with b.active():
        x = b.input("x", TensorSpec((2,)))
        y = x + b.parameter("a", np.ones(2, np.float32)) + b.parameter("a.b", np.ones(2, np.float32))
        b.output("y", y + b.parameter("c..d/e:0", np.ones(2, np.float32)))
    program = backend.compile(b.finish(), "cpu")
    assert set(program.native.state_dict()) == {"a", "a.b", "c..d/e:0"}
    program.native.load_state_dict({n: 2 * t for n, t in program.native.state_dict().items()})
    np.testing.assert_array_equal(program.predict({"x": np.zeros(2, np.float32)})["y"], [6, 6])


@pytest.mark.parametrize("dynamo", [True, False])
@pytest.mark.filterwarnings("ignore")  # what exporters warn of is theirs
def test_what_torch_exports_of_it_means_the_same(tmp_path: Path, dynamo: bool) -> None:
    """Memory formats are not in a file: strides that are written out would be exported as other values."""
    layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(128, 5))
    model = pm.Model(layers, {"x": pm.TensorSpec(("batch", 3, 8, 8))}, ["y"])
    module = pm.compile(model.graph, backend="torch").native
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    torch.onnx.export(module, (torch.from_numpy(x),), str(tmp_path / "net.onnx"), dynamo=dynamo, input_names=["x"])
    found = pm.compare(module, tmp_path / "net.onnx", {"x": x}, layers=False)
    assert found.passed, found.verdict
