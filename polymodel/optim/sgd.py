"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from polymodel.builder import Builder
from polymodel.errors import ConfigError
from polymodel.optim.base import Optimizer, hyper
from polymodel.tensor import Tensor


@final
@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent, in the convention of torch.optim.SGD (dampening 0).

    g' = g + weight_decay * p;  m = momentum * m + g';  d = g' + momentum * m if nesterov else m;  p = p - lr * d.

    The learning rate stands outside the momentum buffer (Sutskever et al., ICML 2013, note on p. 4 of the torch
    documentation of SGD), so the buffer does not depend on the schedule. Without momentum d = g' and there is no slot.

    Args:
        lr: learning rate, > 0.
        momentum: decay of the momentum buffer, in [0, 1).
        weight_decay: L2 coefficient added to the gradient, >= 0.
        nesterov: look ahead along the buffer; needs momentum > 0.

    Raises:
        ConfigError: a value outside its range.

    Example:
        >>> SGD(0.1, momentum=0.9).slots
        ('momentum_buffer',)
    """

    name: ClassVar[str] = "sgd"
    lr: float = 0.01
    momentum: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "lr", hyper("lr", self.lr))
        object.__setattr__(self, "momentum", hyper("momentum", self.momentum, 0, 1, open_high=True))
        object.__setattr__(self, "weight_decay", hyper("weight_decay", self.weight_decay))
        if self.nesterov and self.momentum == 0:
            raise ConfigError("nesterov needs momentum > 0, received momentum=0")

    @property
    def slots(self) -> tuple[str, ...]:
        return ("momentum_buffer",) if self.momentum else ()

    def scalars(self, lr: float, step: int) -> dict[str, float]:
        return {"lr": lr}

    def update(
        self, b: Builder, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], s: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if self.weight_decay:
            g = g + p * self.weight_decay
        if not self.momentum:
            return p - s["lr"] * g, {}
        buffer = slots["momentum_buffer"] * self.momentum + g
        direction = g + buffer * self.momentum if self.nesterov else buffer
        return p - s["lr"] * direction, {"momentum_buffer": buffer}
