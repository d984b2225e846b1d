"""Programs on a CUDA device agree with those on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from polymodel.backend import Backend, Training
from polymodel.errors import DeviceUnavailable
from polymodel.models import reference
from polymodel.optim import Adam


@pytest.fixture
def cuda(backend: Backend) -> str:
    """The first CUDA device of this backend."""
    devices = [d for d in backend.devices() if d.startswith("cuda")]
    if not devices:
        pytest.skip("no CUDA device")
    return devices[0]


def program_of(backend: Backend, device: str) -> Any:
    model = reference("lenet").model
    training = Training(graph=model.training_graph("cross_entropy"), loss="loss", optimizer=Adam(1e-3))
    return backend.compile(model.inference_graph("cross_entropy"), device, training=training)


def test_a_step_on_cuda_is_the_step_on_the_cpu(backend: Backend, cuda: str) -> None:
    x, y = reference("lenet").make_batch(16, 0)
    programs = [program_of(backend, d) for d in ("cpu", cuda)]
    losses = [float(p.train_step({"x": x, "target": y}, lr=1e-3, step=1)["loss"]) for p in programs]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    logits = [p.predict({"x": x}, ["logits"])["logits"] for p in programs]
    np.testing.assert_allclose(logits[1], logits[0], rtol=1e-3, atol=1e-4)


def test_a_device_that_is_not_there_is_refused_by_name(backend: Backend) -> None:
    with pytest.raises(DeviceUnavailable, match="cuda:99"):
        program_of(backend, "cuda:99")


def test_auto_is_the_cpu_where_there_is_no_cuda_device(backend: Backend) -> None:
    if any(d.startswith("cuda") for d in backend.devices()):
        pytest.skip("a CUDA device is there")
    assert program_of(backend, "auto").device == "cpu"
