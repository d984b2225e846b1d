"""Adafactor against torch.optim.Adafactor in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from polymodel.errors import ConfigError
from polymodel.optim import Adafactor


@pytest.mark.parametrize(
    "options",
    [{}, {"lr": 0.5, "beta2_decay": -0.5, "weight_decay": 0.125, "clip": 1.25}, {"eps": (2.0**-10, 0.5)}],
    ids=str,
)
def test_against_torch(run: Any, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    start = {n: rng.standard_normal(s) for n, s in (("w", (3, 4)), ("b", (4,)), ("c", (2, 3, 4, 5)), ("s", ()))}
    gradients = [{n: rng.standard_normal(a.shape) for n, a in start.items()} for _ in range(6)]
    rule = Adafactor(**options)
    parameters = {n: torch.nn.Parameter(torch.tensor(a)) for n, a in start.items()}
    optimizer = torch.optim.Adafactor(
        list(parameters.values()), lr=rule.lr, beta2_decay=rule.beta2_decay, eps=rule.eps, d=rule.clip,
        weight_decay=rule.weight_decay,
    )
    for gradient in gradients:
        for n, p in parameters.items():
            p.grad = torch.tensor(gradient[n])
        optimizer.step()
    found, slots = run(rule, start, gradients)
    for n, p in parameters.items():
        np.testing.assert_allclose(found[n], p.detach().numpy(), rtol=1e-10, atol=1e-12)
        for slot in rule.slot_shapes(n, start[n].shape):
            np.testing.assert_allclose(slots[f"{slot}/{n}"], optimizer.state[p][slot].numpy(), rtol=1e-10)


def test_slots_are_factored() -> None:
    assert Adafactor().slot_shapes("c", (8, 4, 3, 3)) == {"row_var": (8, 4, 3, 1), "col_var": (8, 4, 1, 3)}
    with pytest.raises(ConfigError, match="beta2_decay must be 0 or less"):
        Adafactor(beta2_decay=0.5)
