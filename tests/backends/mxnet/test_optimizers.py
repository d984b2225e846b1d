"""Fused updates against the float64 formula, and which updates are fused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from polymodel.optim import SGD, Adam, AdamW, ClipNorm, ClipValue
from polymodel_mxnet import layout

RULES = [
    SGD(0.1),
    SGD(0.1, weight_decay=0.01),
    SGD(0.1, momentum=0.9),
    SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    SGD(0.1, momentum=0.25),
    Adam(0.01),
    Adam(0.01, betas=(0.8, 0.95), weight_decay=0.1),
    AdamW(0.01, weight_decay=0.1),
]


@pytest.mark.parametrize("clip", [None, ClipNorm(0.05), ClipValue(0.01)], ids=["free", "norm", "value"])
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_agrees_with_the_lowered_formula_in_float64(
    trained: Callable[..., Any], batch: dict[str, np.ndarray], rule: Any, clip: Any
) -> None:
    single, double = trained(optimizer=rule, clip=clip), trained(optimizer=rule, clip=clip, dtype="float64")
    wide = {**batch, "x": batch["x"].astype(np.float64)}
    for step, lr in ((1, 0.01), (2, 0.02)):
        before = single.parameters
        single.train_step(batch, lr=lr, step=step)
        double.train_step(wide, lr=lr, step=step)
        exact, slots = double.parameters, double.slots
        for name, array in single.parameters.items():
            if name == "conv.bias":  # normalization makes its gradient zero but for rounding
                continue
            # Adam divides by the root of the second moment: where a gradient is rounding noise, so is its step.
            moved = np.abs(exact[name] - before[name]).max()
            assert np.abs(array - exact[name]).mean() <= 2e-3 * moved + 1e-7, name
        for name, array in single.slots.items():
            if name.endswith("conv.bias"):
                continue
            assert np.abs(array - slots[name]).max() <= 1e-4 * np.abs(slots[name]).max() + 1e-9, name
        single.parameters = {n: a.astype(np.float32) for n, a in exact.items()}
        single.slots = {n: a.astype(np.float32) for n, a in slots.items()}


@pytest.mark.parametrize("clip", [None, ClipNorm(0.05), ClipValue(0.01)], ids=["free", "norm", "value"])
@pytest.mark.parametrize("rule", [SGD(0.1, momentum=0.9), Adam(0.01), AdamW(0.01, weight_decay=0.1)], ids=str)
def test_tensors_that_lie_alone_are_updated_alike(
    trained: Callable[..., Any], batch: dict[str, np.ndarray], rule: Any, clip: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = trained(optimizer=rule, clip=clip)
    monkeypatch.setattr(layout, "_LARGE", 8)
    alone = trained(optimizer=rule, clip=clip)
    assert len(together.trained.flats) == 1 < len(alone.trained.flats)
    for step in (1, 2, 3):
        for program in (together, alone):
            program.train_step(batch, lr=0.01, step=step)
        if isinstance(clip, ClipNorm):  # the norm of norms is rounded otherwise, which the next steps would carry on
            for name, array in alone.parameters.items():
                np.testing.assert_allclose(array, together.parameters[name], rtol=1e-5, atol=1e-7, err_msg=name)
            return
    for role in ("parameters", "slots"):
        for name, array in getattr(alone, role).items():
            np.testing.assert_array_equal(array, getattr(together, role)[name], err_msg=name)


def test_slots_have_the_portable_names_and_start_at_zero(trained: Callable[..., Any]) -> None:
    slots = trained(optimizer=Adam(0.01)).slots
    assert set(slots) >= {"exp_avg/conv.weight", "exp_avg_sq/head.bias"}
    assert not any(s.any() for s in slots.values())
