"""Adadelta."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from polymodel.builder import Builder
from polymodel.optim.base import Optimizer, hyper
from polymodel.tensor import Tensor


@final
@dataclass(frozen=True)
class Adadelta(Optimizer):
    """Adadelta (Zeiler, arXiv:1212.5701, algorithm 1), in the convention of torch.optim.Adadelta.

    g' = g + weight_decay * p;  v = rho v + (1 - rho) g'^2;  d = sqrt(u + eps) / sqrt(v + eps) * g';
    u = rho u + (1 - rho) d^2;  p = p - lr * d.

    Args:
        lr: factor of the step, > 0; the paper has none.
        rho: decay of both averages, in [0, 1).
        eps: added inside both roots, > 0.
        weight_decay: L2 coefficient added to the gradient, >= 0.

    Raises:
        ConfigError: a value outside its range.

    Example:
        >>> Adadelta().slots
        ('square_avg', 'acc_delta')
    """

    name: ClassVar[str] = "adadelta"
    lr: float = 1.0
    rho: float = 0.9
    eps: float = 1e-6
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "rho", hyper("rho", self.rho, 0, 1, open_high=True))
        for name in ("lr", "eps", "weight_decay"):
            object.__setattr__(self, name, hyper(name, getattr(self, name)))

    @property
    def slots(self) -> tuple[str, ...]:
        return ("square_avg", "acc_delta")

    def scalars(self, lr: float, step: int) -> dict[str, float]:
        return {"lr": lr}

    def update(
        self, b: Builder, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], s: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if self.weight_decay:
            g = g + p * self.weight_decay
        square = slots["square_avg"] * self.rho + g * g * (1.0 - self.rho)
        delta = b.op("Sqrt", slots["acc_delta"] + self.eps) / b.op("Sqrt", square + self.eps) * g
        moved = slots["acc_delta"] * self.rho + delta * delta * (1.0 - self.rho)
        return p - s["lr"] * delta, {"square_avg": square, "acc_delta": moved}
