"""program.py: the step, what it leaves alone, and what it hands out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Arrays = dict[str, np.ndarray]


def state(program: Any) -> Arrays:
    return {**program.parameters, **program.buffers, **program.slots}


def same(a: Arrays, b: Arrays) -> bool:
    return a.keys() == b.keys() and all(a[n].tobytes() == b[n].tobytes() for n in a)


def test_scalars_of_a_step_are_tensors_that_float_reads(trained: Callable[..., Any], batch: Arrays) -> None:
    loss = trained().train_step(batch, lr=0.1, step=1)["loss"]
    assert isinstance(loss, torch.Tensor)
    assert not loss.requires_grad
    assert np.isfinite(float(loss))


def test_threads_are_those_asked_for(trained: Callable[..., Any], batch: Arrays) -> None:
    before = torch.get_num_threads()
    try:
        program = trained(threads=2)
        torch.set_num_threads(1)  # another library may do so, as MXNet does when it is loaded
        program.predict({"x": batch["x"]}, ["logits"])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_deterministic_lasts_for_the_call_only(trained: Callable[..., Any], batch: Arrays) -> None:
    program = trained(deterministic=True)
    program.train_step(batch, lr=0.1, step=1)
    assert not torch.are_deterministic_algorithms_enabled()


def test_one_compiled_function_serves_all_batch_sizes(trained: Callable[..., Any], batch: Arrays) -> None:
    program = trained()
    for n in (1, 3, 8):
        assert program.predict({"x": batch["x"][:n]}, ["logits"])["logits"].shape == (n, 3)
    assert len([k for k in program._compiled if k[0] == "predict"]) == 1
