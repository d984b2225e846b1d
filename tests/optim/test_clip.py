"""Clipping against torch.nn.utils, and before the update rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from polymodel.errors import ConfigError
from polymodel.optim import SGD, ClipNorm, ClipValue


@pytest.mark.parametrize("clip", [ClipNorm(0.5), ClipNorm(1e3), ClipValue(0.25), ClipValue(1e3)], ids=str)
def test_against_torch(run: Any, problem: Any, clip: ClipNorm | ClipValue) -> None:
    start, gradients = problem
    parameters = {n: torch.nn.Parameter(torch.tensor(a)) for n, a in start.items()}
    optimizer = torch.optim.SGD(list(parameters.values()), lr=0.5)
    for gradient in gradients:
        for n, p in parameters.items():
            p.grad = torch.tensor(gradient[n])
        if isinstance(clip, ClipNorm):
            torch.nn.utils.clip_grad_norm_(list(parameters.values()), clip.max_norm)
        else:
            torch.nn.utils.clip_grad_value_(list(parameters.values()), clip.limit)
        optimizer.step()
    found, _ = run(SGD(0.5), start, gradients, clip=clip)
    for n, p in parameters.items():
        np.testing.assert_allclose(found[n], p.detach().numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("make", [lambda: ClipNorm(-1.0), lambda: ClipValue(float("inf"))])
def test_impossible_values(make: Any) -> None:
    with pytest.raises(ConfigError, match="must be finite and in"):
        make()
