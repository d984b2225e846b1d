"""Adam, and Adam with decoupled weight decay."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from polymodel.builder import Builder
from polymodel.optim.base import Optimizer, set_moments
from polymodel.tensor import Tensor


def _scalars(lr: float, step: int, beta1: float, beta2: float, eps: float) -> dict[str, float]:
    root = math.sqrt(1.0 - beta2**step)
    return {"lr": lr, "step": float(step), "step_size": lr * root / (1.0 - beta1**step), "eps_hat": eps * root}


def _moments(g: Tensor, slots: Mapping[str, Tensor], beta1: float, beta2: float) -> dict[str, Tensor]:
    return {
        "exp_avg": slots["exp_avg"] * beta1 + g * (1.0 - beta1),
        "exp_avg_sq": slots["exp_avg_sq"] * beta2 + g * g * (1.0 - beta2),
    }


@final
@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma & Ba, ICLR 2015, algorithm 1), in the convention of torch.optim.Adam.

    g' = g + weight_decay * p;  m = beta1 m + (1 - beta1) g';  v = beta2 v + (1 - beta2) g'^2;
    p = p - lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps).

    Computed in the paper's faster order (end of section 2), which is the same number: step_size = lr sqrt(1 - beta2^t)
    / (1 - beta1^t), eps_hat = eps sqrt(1 - beta2^t), p = p - step_size * m / (sqrt(v) + eps_hat).

    Args:
        lr: learning rate, > 0.
        betas: decay of the first and second moment, in [0, 1).
        eps: added outside the bias-corrected root, > 0.
        weight_decay: L2 coefficient added to the gradient (not decoupled: see AdamW), >= 0.

    Raises:
        ConfigError: a value outside its range.

    Example:
        >>> Adam(1e-3).slots
        ('exp_avg', 'exp_avg_sq')
    """

    name: ClassVar[str] = "adam"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        set_moments(self)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def scalars(self, lr: float, step: int) -> dict[str, float]:
        return _scalars(lr, step, *self.betas, self.eps)

    def update(
        self, b: Builder, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], s: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if self.weight_decay:
            g = g + p * self.weight_decay
        new = _moments(g, slots, *self.betas)
        return p - s["step_size"] * new["exp_avg"] / (b.op("Sqrt", new["exp_avg_sq"]) + s["eps_hat"]), new


@final
@dataclass(frozen=True)
class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter, ICLR 2019, algorithm 2), as torch.optim.AdamW.

    p = p - lr * weight_decay * p, then the step of Adam on the undecayed gradient.

    Args:
        lr: learning rate, > 0.
        betas: decay of the first and second moment, in [0, 1).
        eps: added outside the bias-corrected root, > 0.
        weight_decay: share of the parameter removed per unit of learning rate, >= 0.

    Raises:
        ConfigError: a value outside its range.

    Example:
        >>> AdamW(1e-3, weight_decay=0.0).scalars(1e-3, 1)["decay"]
        1.0
    """

    name: ClassVar[str] = "adamw"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        set_moments(self)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def scalars(self, lr: float, step: int) -> dict[str, float]:
        return {**_scalars(lr, step, *self.betas, self.eps), "decay": 1.0 - lr * self.weight_decay}

    def update(
        self, b: Builder, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], s: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        new = _moments(g, slots, *self.betas)
        return p * s["decay"] - s["step_size"] * new["exp_avg"] / (b.op("Sqrt", new["exp_avg_sq"]) + s["eps_hat"]), new
