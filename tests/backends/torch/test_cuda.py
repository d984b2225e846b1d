"""The same program on a CUDA device: runs where there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from polymodel.backend import CompileOptions, Training
from polymodel.optim import SGD, Adam

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
Arrays = dict[str, np.ndarray]


@pytest.mark.parametrize("rule", [SGD(0.1, momentum=0.9), Adam(0.01)], ids=str)
def test_a_step_is_the_step_of_the_cpu(backend: Any, trained: Callable[..., Any], batch: Arrays, rule: Any) -> None:
    cpu = trained(rule)
    training = Training(graph=cpu.training.graph, loss="loss", optimizer=rule)
    cuda = backend.compile(cpu.graph, "cuda", training=training, options=CompileOptions(deterministic=True))
    for step in (1, 2):
        losses = [float(p.train_step(batch, lr=0.01, step=step)["loss"]) for p in (cpu, cuda)]
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    for role in ("parameters", "buffers", "slots"):
        for name, value in getattr(cpu, role).items():
            np.testing.assert_allclose(getattr(cuda, role)[name], value, rtol=1e-3, atol=1e-5, err_msg=name)


def test_a_loss_that_is_not_finite_changes_nothing(backend: Any, trained: Callable[..., Any], batch: Arrays) -> None:
    cpu = trained(Adam(0.1))
    training = Training(graph=cpu.training.graph, loss="loss", optimizer=Adam(0.1))
    program = backend.compile(cpu.graph, "cuda:0", training=training)
    before = {**program.parameters, **program.buffers, **program.slots}
    program.train_step({**batch, "x": np.full_like(batch["x"], np.nan)}, lr=0.1, step=1)
    after = {**program.parameters, **program.buffers, **program.slots}
    assert all(np.array_equal(before[n], after[n]) for n in before)
