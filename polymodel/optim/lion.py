"""Lion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from polymodel.builder import Builder
from polymodel.optim.base import Optimizer, set_moments
from polymodel.tensor import Tensor


@final
@dataclass(frozen=True)
class Lion(Optimizer):
    """Lion (Chen et al., NeurIPS 2023, arXiv:2302.06675, program 1): steps of one size in the direction of a sign.

    p = p - lr * (sign(beta1 m + (1 - beta1) g) + weight_decay * p);  m = beta2 m + (1 - beta2) g.

    Args:
        lr: learning rate, > 0; the paper takes a third to a tenth of AdamW's.
        betas: weight of the momentum in the step, and its decay, in [0, 1).
        weight_decay: decoupled: share of the parameter removed per unit of learning rate, >= 0.

    Raises:
        ConfigError: a value outside its range.

    Example:
        >>> Lion().slots
        ('exp_avg',)
    """

    name: ClassVar[str] = "lion"
    lr: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        set_moments(self)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("exp_avg",)

    def scalars(self, lr: float, step: int) -> dict[str, float]:
        return {"lr": lr, "decay": 1.0 - lr * self.weight_decay}

    def update(
        self, b: Builder, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], s: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        beta1, beta2 = self.betas
        mean = slots["exp_avg"]
        direction = b.op("Sign", mean * beta1 + g * (1.0 - beta1))
        kept = p * s["decay"] if self.weight_decay else p
        return kept - s["lr"] * direction, {"exp_avg": mean * beta2 + g * (1.0 - beta2)}
