"""optimizers.py: the fused kernels are the rules of polymodel.optim."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from polymodel.optim import SGD, Adam, AdamW, Averaged, ClipNorm, ClipValue, Group, Groups
from polymodel_torch.optimizers import _lowered, make_update

RULES = [
    SGD(0.1),
    SGD(0.1, weight_decay=0.3),
    SGD(0.1, momentum=0.9, weight_decay=0.1),
    SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    Adam(0.01),
    Adam(0.01, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.2),
    AdamW(0.01, weight_decay=0.3),
    Averaged(Adam(0.01), 0.75, warmup=True),
    Averaged(Groups(AdamW(0.01, weight_decay=0.3), (Group("b", {"weight_decay": 0.0, "lr": 0.5}),)), 0.75),
]


def run(rule: Any, clip: Any, fused: bool, steps: int = 4) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    parameters = {n: torch.from_numpy(rng.standard_normal(s)) for n, s in (("w", (4, 3)), ("b", (5,)))}
    slots = {f"{k}/{n}": torch.zeros_like(p) for k in rule.slots for n, p in parameters.items()}
    update = (make_update if fused else _lowered)(rule, clip, parameters, slots, "cpu")
    for step in range(1, steps + 1):
        gradients = [torch.from_numpy(rng.standard_normal(tuple(p.shape))) for p in parameters.values()]
        update(gradients, rule.scalars(rule.lr, step), None)
    return {n: t.numpy() for n, t in {**parameters, **slots}.items()}


@pytest.mark.parametrize("clip", [None, ClipNorm(0.7), ClipNorm(50.0), ClipValue(0.3)], ids=str)
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_fused_kernels_agree_with_the_formula(rule: Any, clip: Any) -> None:
    fused, formula = run(rule, clip, True), run(rule, clip, False)
    for name, value in formula.items():
        np.testing.assert_allclose(fused[name], value, rtol=1e-12, atol=1e-15, err_msg=name)


def test_a_gradient_in_another_memory_order_is_put_in_order() -> None:
    parameter = torch.zeros(2, 3)
    gradient = torch.arange(6.0).reshape(3, 2).t()
    make_update(SGD(1.0), None, {"w": parameter}, {}, "cpu")([gradient], {"lr": 1.0}, None)
    torch.testing.assert_close(parameter, -gradient)


def test_one_gradient_of_two_parameters_is_clipped_once() -> None:
    gradient = torch.full((4,), 2.0)
    parameters = {"a": torch.zeros(4), "b": torch.zeros(4)}
    make_update(SGD(1.0), ClipNorm(1.0), parameters, {}, "cpu")([gradient, gradient], {"lr": 1.0}, None)
    norm = torch.linalg.vector_norm(torch.cat(list(parameters.values())))
    torch.testing.assert_close(norm, torch.tensor(1.0))
    torch.testing.assert_close(gradient, torch.full((4,), 2.0))


@pytest.mark.parametrize("rule", [SGD(0.1, momentum=0.9), Adam(0.1)], ids=str)
def test_a_skipped_update_changes_nothing(rule: Any) -> None:
    parameters = {"w": torch.ones(3)}
    slots = {f"{k}/w": torch.zeros(3) for k in rule.slots}
    update = make_update(rule, None, parameters, slots, "cpu")
    update([torch.ones(3)], rule.scalars(0.1, 1), torch.ones(()))
    assert (parameters["w"] == 1).all()
    assert all((s == 0).all() for s in slots.values())
    update([torch.ones(3)], rule.scalars(0.1, 1), torch.zeros(()))
    assert (parameters["w"] != 1).all()
