"""LAMB."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from polymodel.builder import Builder
from polymodel.optim.base import Optimizer, set_moments
from polymodel.tensor import Tensor


@final
@dataclass(frozen=True)
class LAMB(Optimizer):
    """LAMB (You et al., ICLR 2020, arXiv:1904.00962, algorithm 2): Adam's direction at a length of the parameter's.

    m and v as in Adam;  r = (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps) + weight_decay * p;
    p = p - lr * ratio * r with ratio = ||p|| / ||r||, or 1 where either norm is zero (phi(z) = z, one layer for each parameter).

    Args:
        lr: learning rate, > 0.
        betas: decay of the first and second moment, in [0, 1).
        eps: added outside the bias-corrected root, > 0.
        weight_decay: decoupled, inside the direction that is brought to length, >= 0.

    Raises:
        ConfigError: a value outside its range.

    Example:
        >>> LAMB().slots
        ('exp_avg', 'exp_avg_sq')
    """

    name: ClassVar[str] = "lamb"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-6
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        set_moments(self)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def scalars(self, lr: float, step: int) -> dict[str, float]:
        beta1, beta2 = self.betas
        root = (1.0 - beta2**step) ** 0.5
        return {"lr": lr, "scale": root / (1.0 - beta1**step), "eps_hat": self.eps * root}

    def update(
        self, b: Builder, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], s: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        beta1, beta2 = self.betas
        mean = slots["exp_avg"] * beta1 + g * (1.0 - beta1)
        square = slots["exp_avg_sq"] * beta2 + g * g * (1.0 - beta2)
        direction = s["scale"] * mean / (b.op("Sqrt", square) + s["eps_hat"])
        if self.weight_decay:
            direction = direction + p * self.weight_decay
        size, length = (b.op("ReduceL2", t, keepdims=0) for t in (p, direction))
        moving = b.op("And", b.op("Greater", size, 0.0), b.op("Greater", length, 0.0))
        ratio = b.op("Where", moving, size / b.op("Where", moving, length, 1.0), 1.0)
        return p - s["lr"] * ratio * direction, {"exp_avg": mean, "exp_avg_sq": square}
