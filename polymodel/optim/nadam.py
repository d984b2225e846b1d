"""NAdam."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from polymodel.builder import Builder
from polymodel.optim.base import Optimizer, hyper, set_moments
from polymodel.tensor import Tensor


@final
@dataclass(frozen=True)
class NAdam(Optimizer):
    """Adam with Nesterov momentum (Dozat, ICLR workshop 2016, algorithm 8), in the convention of torch.optim.NAdam.

    mu_t = beta1 (1 - 0.96^(t * momentum_decay) / 2);  g' = g + weight_decay * p;  m and v as in Adam;
    p = p - lr * (mu_{t+1} / (1 - mu_1 ... mu_{t+1}) m + (1 - mu_t) / (1 - mu_1 ... mu_t) g') / (sqrt(v / (1 - beta2^t)) + eps).

    The root is taken before the correction, as in Adam here: numerator and eps are multiplied by sqrt(1 - beta2^t).

    Args:
        lr: learning rate, > 0.
        betas: decay of the first and second moment, in [0, 1).
        eps: added outside the bias-corrected root, > 0.
        weight_decay: L2 coefficient added to the gradient, >= 0.
        momentum_decay: how fast the momentum comes to beta1, >= 0.

    Raises:
        ConfigError: a value outside its range.

    Example:
        >>> NAdam().slots
        ('exp_avg', 'exp_avg_sq')
    """

    name: ClassVar[str] = "nadam"
    lr: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum_decay: float = 4e-3

    def __post_init__(self) -> None:
        set_moments(self)
        object.__setattr__(self, "momentum_decay", hyper("momentum_decay", self.momentum_decay))

    @property
    def slots(self) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def scalars(self, lr: float, step: int) -> dict[str, float]:
        now, later = (_momentum(self.betas[0], self.momentum_decay, t) for t in (step, step + 1))
        product = _product(self.betas[0], self.momentum_decay, step)
        root = math.sqrt(1.0 - self.betas[1] ** step)
        return {
            "step_g": lr * root * (1.0 - now) / (1.0 - product),
            "step_m": lr * root * later / (1.0 - product * later),
            "eps_hat": self.eps * root,
        }

    def update(
        self, b: Builder, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], s: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if self.weight_decay:
            g = g + p * self.weight_decay
        beta1, beta2 = self.betas
        mean = slots["exp_avg"] * beta1 + g * (1.0 - beta1)
        square = slots["exp_avg_sq"] * beta2 + g * g * (1.0 - beta2)
        step = (s["step_g"] * g + s["step_m"] * mean) / (b.op("Sqrt", square) + s["eps_hat"])
        return p - step, {"exp_avg": mean, "exp_avg_sq": square}


def _momentum(beta1: float, decay: float, step: Any) -> Any:
    return beta1 * (1.0 - 0.5 * 0.96 ** (step * decay))


def _product(beta1: float, decay: float, step: int) -> float:
    """mu_1 ... mu_step; zero once it is lost beside 1, so that a late step costs no more than an early one."""
    if beta1**step < 1e-20:
        return 0.0
    return float(np.prod(_momentum(beta1, decay, np.arange(1, step + 1))))
