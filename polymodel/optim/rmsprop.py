"""RMSprop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from polymodel.builder import Builder
from polymodel.optim.base import Optimizer, hyper
from polymodel.tensor import Tensor


@final
@dataclass(frozen=True)
class RMSprop(Optimizer):
    """RMSprop (Tieleman & Hinton, Coursera 2012, lecture 6e; centered: Graves, arXiv:1308.0850, equations 38 to 45), in
    the convention of torch.optim.RMSprop.

    g' = g + weight_decay * p;  v = alpha v + (1 - alpha) g'^2;  centered: a = alpha a + (1 - alpha) g', w = v - a^2, else
    w = v;  d = g' / (sqrt(w) + eps);  momentum: m = momentum * m + d, p = p - lr * m, else p = p - lr * d.

    A variance that rounding made negative counts as zero.

    Args:
        lr: learning rate, > 0.
        alpha: decay of the averages, in [0, 1).
        eps: added outside the root, >= 0.
        weight_decay: L2 coefficient added to the gradient, >= 0.
        momentum: decay of the momentum buffer, in [0, 1).
        centered: divide by the standard deviation of the gradient instead of its root mean square.

    Raises:
        ConfigError: a value outside its range.

    Example:
        >>> RMSprop(momentum=0.9).slots
        ('square_avg', 'momentum_buffer')
    """

    name: ClassVar[str] = "rmsprop"
    lr: float = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    centered: bool = False

    def __post_init__(self) -> None:
        for name in ("lr", "eps", "weight_decay"):
            object.__setattr__(self, name, hyper(name, getattr(self, name)))
        for name in ("alpha", "momentum"):
            object.__setattr__(self, name, hyper(name, getattr(self, name), 0, 1, open_high=True))

    @property
    def slots(self) -> tuple[str, ...]:
        optional = (("grad_avg", self.centered), ("momentum_buffer", self.momentum > 0))
        return ("square_avg", *(name for name, used in optional if used))

    def scalars(self, lr: float, step: int) -> dict[str, float]:
        return {"lr": lr}

    def update(
        self, b: Builder, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], s: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if self.weight_decay:
            g = g + p * self.weight_decay
        new = {"square_avg": slots["square_avg"] * self.alpha + g * g * (1.0 - self.alpha)}
        variance = new["square_avg"]
        if self.centered:
            new["grad_avg"] = slots["grad_avg"] * self.alpha + g * (1.0 - self.alpha)
            variance = b.op("Relu", variance - new["grad_avg"] * new["grad_avg"])
        direction = g / (b.op("Sqrt", variance) + self.eps)
        if self.momentum:
            direction = new["momentum_buffer"] = slots["momentum_buffer"] * self.momentum + direction
        return p - s["lr"] * direction, new
