"""Adamax."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from polymodel.builder import Builder
from polymodel.optim.base import Optimizer, set_moments
from polymodel.tensor import Tensor


@final
@dataclass(frozen=True)
class Adamax(Optimizer):
    """Adamax (Kingma & Ba, ICLR 2015, algorithm 2), in the convention of torch.optim.Adamax.

    g' = g + weight_decay * p;  m = beta1 m + (1 - beta1) g';  u = max(beta2 u, |g'| + eps);
    p = p - lr / (1 - beta1^t) * m / u.

    Args:
        lr: learning rate, > 0.
        betas: decay of the first moment and of the infinity norm, in [0, 1).
        eps: added to the size of the gradient, > 0.
        weight_decay: L2 coefficient added to the gradient, >= 0.

    Raises:
        ConfigError: a value outside its range.

    Example:
        >>> Adamax().slots
        ('exp_avg', 'exp_inf')
    """

    name: ClassVar[str] = "adamax"
    lr: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        set_moments(self)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("exp_avg", "exp_inf")

    def scalars(self, lr: float, step: int) -> dict[str, float]:
        return {"step_size": lr / (1.0 - self.betas[0] ** step)}

    def update(
        self, b: Builder, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], s: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if self.weight_decay:
            g = g + p * self.weight_decay
        beta1, beta2 = self.betas
        mean = slots["exp_avg"] * beta1 + g * (1.0 - beta1)
        norm = b.op("Max", slots["exp_inf"] * beta2, b.op("Abs", g) + self.eps)
        return p - s["step_size"] * mean / norm, {"exp_avg": mean, "exp_inf": norm}
