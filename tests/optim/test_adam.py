"""Adam and AdamW against the papers' formulas by hand and against torch.optim, all in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from polymodel.errors import ConfigError
from polymodel.optim import Adam, AdamW

CASES: list[dict[str, Any]] = [
    {},
    {"betas": (0.5, 0.75)},
    {"betas": (0.0, 0.5), "eps": 1e-3},
    {"weight_decay": 0.1},
]


@pytest.mark.parametrize("kind", [Adam, AdamW])
@pytest.mark.parametrize("options", CASES, ids=str)
def test_by_hand(run: Any, problem: Any, kind: Any, options: dict[str, Any]) -> None:
    """Algorithm 1 of Kingma & Ba and algorithm 2 of Loshchilov & Hutter, in their own order of operations."""
    start, gradients = problem
    rule = kind(0.01, **options)
    lrs = [rule.lr / (1 + i) for i in range(len(gradients))]
    (b1, b2), decay = rule.betas, rule.weight_decay
    p = {n: a.copy() for n, a in start.items()}
    m = {n: np.zeros_like(a) for n, a in start.items()}
    v = {n: np.zeros_like(a) for n, a in start.items()}
    for t, (lr, gradient) in enumerate(zip(lrs, gradients, strict=True), start=1):
        for n in p:
            g = gradient[n] + (decay * p[n] if kind is Adam else 0)
            m[n] = b1 * m[n] + (1 - b1) * g
            v[n] = b2 * v[n] + (1 - b2) * g * g
            step = lr * (m[n] / (1 - b1**t)) / (np.sqrt(v[n] / (1 - b2**t)) + rule.eps)
            p[n] = p[n] - (lr * decay * p[n] if kind is AdamW else 0) - step
    found, slots = run(rule, start, gradients, lrs)
    for n in p:
        np.testing.assert_allclose(found[n], p[n], rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(slots[f"exp_avg/{n}"], m[n], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(slots[f"exp_avg_sq/{n}"], v[n], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("kind", "theirs"), [(Adam, torch.optim.Adam), (AdamW, torch.optim.AdamW)])
@pytest.mark.parametrize("options", CASES, ids=str)
def test_against_torch(run: Any, problem: Any, kind: Any, theirs: Any, options: dict[str, Any]) -> None:
    start, gradients = problem
    rule = kind(0.01, **options)
    parameters = {n: torch.nn.Parameter(torch.tensor(a)) for n, a in start.items()}
    exact = {k: getattr(rule, k) for k in ("lr", "betas", "eps", "weight_decay")}
    optimizer = theirs(list(parameters.values()), **exact)
    for gradient in gradients:
        for n, p in parameters.items():
            p.grad = torch.tensor(gradient[n])
        optimizer.step()
    found, _ = run(rule, start, gradients)
    for n, p in parameters.items():
        np.testing.assert_allclose(found[n], p.detach().numpy(), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("kind", [Adam, AdamW])
@pytest.mark.parametrize(
    "options", [{"lr": -1e-3}, {"betas": (1.0, 0.9)}, {"betas": (0.9, -0.1)}, {"eps": -1.0}], ids=str
)
def test_impossible_values(kind: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        kind(**options)


def test_hyperparameters_are_float32_numbers() -> None:
    rule = Adam(1e-3)
    assert all(float(np.float32(v)) == v for v in (rule.lr, rule.eps, *rule.betas))
    assert np.float32(1) - np.float32(rule.betas[1]) == 1 - rule.betas[1]
