"""SGD against the formula by hand and against torch.optim, both in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from polymodel.errors import ConfigError
from polymodel.optim import SGD

CASES: list[dict[str, Any]] = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "nesterov": True},
    {"weight_decay": 0.1},
    {"momentum": 0.5, "nesterov": True, "weight_decay": 0.01},
]


@pytest.mark.parametrize("options", CASES, ids=str)
def test_by_hand(run: Any, problem: Any, options: dict[str, Any]) -> None:
    start, gradients = problem
    rule = SGD(0.1, **options)
    lrs = [rule.lr * (0.9**i) for i in range(len(gradients))]
    p = {n: a.copy() for n, a in start.items()}
    m = {n: np.zeros_like(a) for n, a in start.items()}
    for lr, gradient in zip(lrs, gradients, strict=True):
        for n in p:
            g = gradient[n] + rule.weight_decay * p[n]
            m[n] = rule.momentum * m[n] + g
            p[n] = p[n] - lr * (g + rule.momentum * m[n] if rule.nesterov else m[n] if rule.momentum else g)
    found, slots = run(rule, start, gradients, lrs)
    for n in p:
        np.testing.assert_allclose(found[n], p[n], rtol=1e-12, atol=1e-14)
        if rule.momentum:
            np.testing.assert_allclose(slots[f"momentum_buffer/{n}"], m[n], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("options", CASES, ids=str)
def test_against_torch(run: Any, problem: Any, options: dict[str, Any]) -> None:
    start, gradients = problem
    rule = SGD(0.1, **options)
    exact = {k: getattr(rule, k) for k in ("lr", "momentum", "weight_decay", "nesterov")}
    parameters = {n: torch.nn.Parameter(torch.tensor(a)) for n, a in start.items()}
    theirs = torch.optim.SGD(list(parameters.values()), **exact)
    for gradient in gradients:
        for n, p in parameters.items():
            p.grad = torch.tensor(gradient[n])
        theirs.step()
    found, _ = run(rule, start, gradients)
    for n, p in parameters.items():
        np.testing.assert_allclose(found[n], p.detach().numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "options", [{"lr": -1.0}, {"momentum": 1.0}, {"momentum": -0.1}, {"weight_decay": -1e-9}, {"nesterov": True},
                {"lr": float("nan")}, {"lr": "0.1"}, {"lr": True}], ids=str,
)
def test_impossible_values(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        SGD(**options)
