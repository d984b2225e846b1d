"""Adagrad."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from polymodel.builder import Builder
from polymodel.optim.base import Optimizer, hyper
from polymodel.tensor import Tensor


@final
@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan & Singer, JMLR 2011, figure 1, diagonal), in the convention of torch.optim.Adagrad.

    g' = g + weight_decay * p;  s = s + g'^2;  p = p - lr / (1 + (t - 1) * lr_decay) * g' / (sqrt(s) + eps).

    Args:
        lr: learning rate, > 0.
        lr_decay: how fast the learning rate falls with the steps, >= 0.
        eps: added outside the root, >= 0.
        weight_decay: L2 coefficient added to the gradient, >= 0.

    Raises:
        ConfigError: a value outside its range.

    Example:
        >>> Adagrad(0.1, lr_decay=1.0).scalars(0.5, 2)
        {'lr': 0.25}
    """

    name: ClassVar[str] = "adagrad"
    lr: float = 1e-2
    lr_decay: float = 0.0
    eps: float = 1e-10
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        for name in ("lr", "lr_decay", "eps", "weight_decay"):
            object.__setattr__(self, name, hyper(name, getattr(self, name)))

    @property
    def slots(self) -> tuple[str, ...]:
        return ("sum",)

    def scalars(self, lr: float, step: int) -> dict[str, float]:
        return {"lr": lr / (1.0 + (step - 1) * self.lr_decay)}

    def update(
        self, b: Builder, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], s: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if self.weight_decay:
            g = g + p * self.weight_decay
        total = slots["sum"] + g * g
        return p - s["lr"] * g / (b.op("Sqrt", total) + self.eps), {"sum": total}
