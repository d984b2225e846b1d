"""The further update rules against torch.optim, or against their paper's formula where torch has none, in float64."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch

from polymodel.errors import ConfigError
from polymodel.optim import LAMB, Adadelta, Adagrad, Adamax, Lion, NAdam, RMSprop
from polymodel.optim.nadam import _product

CASES: list[tuple[Any, dict[str, Any]]] = [
    (Adamax, {}),
    (Adamax, {"betas": (0.5, 0.75), "weight_decay": 0.1}),
    (NAdam, {}),
    (NAdam, {"betas": (0.5, 0.75), "momentum_decay": 0.5, "weight_decay": 0.1}),
    (RMSprop, {}),
    (RMSprop, {"alpha": 0.5, "eps": 1e-3, "weight_decay": 0.1}),
    (RMSprop, {"momentum": 0.75, "centered": True}),
    (Adagrad, {}),
    (Adagrad, {"lr_decay": 0.5, "eps": 1e-3, "weight_decay": 0.1}),
    (Adadelta, {}),
    (Adadelta, {"rho": 0.5, "eps": 1e-3, "weight_decay": 0.1}),
]


@pytest.fixture
def double() -> Iterator[None]:
    """torch.optim keeps its own scalars, such as NAdam's product of momenta, in the default element type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(("kind", "options"), CASES, ids=lambda v: getattr(v, "__name__", str(v)))
def test_against_torch(run: Any, problem: Any, kind: Any, options: dict[str, Any]) -> None:
    start, gradients = problem
    rule = kind(0.01, **options)
    parameters = {n: torch.nn.Parameter(torch.tensor(a)) for n, a in start.items()}
    exact = {f.name: getattr(rule, f.name) for f in fields(rule)}
    optimizer = getattr(torch.optim, kind.__name__)(list(parameters.values()), **exact)
    for gradient in gradients:
        for n, p in parameters.items():
            p.grad = torch.tensor(gradient[n])
        optimizer.step()
    found, slots = run(rule, start, gradients)
    for n, p in parameters.items():
        np.testing.assert_allclose(found[n], p.detach().numpy(), rtol=1e-10, atol=1e-12)
        for slot in rule.slots:
            np.testing.assert_allclose(slots[f"{slot}/{n}"], optimizer.state[p][slot].numpy(), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("decay", [0.0, 0.125])
def test_lion_by_hand(run: Any, problem: Any, decay: float) -> None:
    start, gradients = problem
    rule = Lion(0.01, betas=(0.75, 0.5), weight_decay=decay)
    found, slots = run(rule, start, gradients)
    for n, first in start.items():
        p, m = first, np.zeros_like(first)
        for gradient in gradients:
            p = p - rule.lr * (np.sign(0.75 * m + 0.25 * gradient[n]) + decay * p)
            m = 0.5 * m + 0.5 * gradient[n]
        np.testing.assert_allclose(found[n], p, rtol=1e-12)
        np.testing.assert_allclose(slots[f"exp_avg/{n}"], m, rtol=1e-12)


@pytest.mark.parametrize("options", [{}, {"betas": (0.5, 0.75), "eps": 1e-3, "weight_decay": 0.0}], ids=str)
def test_lamb_by_hand(run: Any, problem: Any, options: dict[str, Any]) -> None:
    start, gradients = problem
    rule = LAMB(0.01, **options)
    b1, b2 = rule.betas
    found, _ = run(rule, start, gradients)
    for n, first in start.items():
        p, m, v = first, np.zeros_like(first), np.zeros_like(first)
        for t, gradient in enumerate(gradients, start=1):
            m = b1 * m + (1 - b1) * gradient[n]
            v = b2 * v + (1 - b2) * gradient[n] ** 2
            r = (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + rule.eps) + rule.weight_decay * p
            p = p - rule.lr * np.linalg.norm(p) / np.linalg.norm(r) * r
        np.testing.assert_allclose(found[n], p, rtol=1e-10, atol=1e-12)


def test_lamb_moves_a_parameter_that_is_zero_and_leaves_one_without_gradient(run: Any) -> None:
    rule = LAMB(0.5, weight_decay=0.0)
    found, _ = run(rule, {"zero": np.zeros(3), "still": np.ones(3)}, [{"zero": np.ones(3), "still": np.zeros(3)}])
    np.testing.assert_allclose(found["zero"], -0.5, rtol=1e-5)
    np.testing.assert_array_equal(found["still"], np.ones(3))


def test_a_constant_gradient_does_not_make_a_centered_variance_negative(run: Any) -> None:
    start = {"w": np.full(5, 1.0)}
    found, _ = run(RMSprop(1e-2, centered=True), start, [{"w": np.full(5, 1 / 3)}] * 200)
    assert np.isfinite(found["w"]).all()


def test_a_late_step_of_nadam() -> None:
    assert _product(0.9, 4e-3, 3) == pytest.approx(np.prod([0.9 * (1 - 0.5 * 0.96 ** (t * 4e-3)) for t in (1, 2, 3)]))
    assert NAdam().scalars(1.0, 10**9)["step_m"] == pytest.approx(0.9, rel=1e-6)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Adamax, {"betas": (1.0, 0.9)}),
        (NAdam, {"momentum_decay": -1.0}),
        (RMSprop, {"alpha": 1.0}),
        (RMSprop, {"momentum": -0.5}),
        (Adagrad, {"lr_decay": -1.0}),
        (Adadelta, {"rho": 1.5}),
        (Lion, {"betas": (0.9, 1.0)}),
        (LAMB, {"eps": -1.0}),
    ],
    ids=lambda v: getattr(v, "__name__", str(v)),
)
def test_impossible_values(kind: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=re.escape(next(iter(options)))):
        kind(**options)
