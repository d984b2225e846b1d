"""Wrong update rules. A worker imports this file, so it knows nothing of what judges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from polymodel.builder import Builder
from polymodel.optim import Adam, Optimizer
from polymodel.tensor import Tensor


@final
@dataclass(frozen=True)
class AdamInsideRoot(Optimizer):
    """Adam with epsilon under the square root, as in some frameworks: the mutant of Adam."""

    name: ClassVar[str] = "adam_inside_root"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    @property
    def slots(self) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def scalars(self, lr: float, step: int) -> dict[str, float]:
        right = Adam(self.lr, self.betas, self.eps).scalars(lr, step)
        return {"step_size": right["step_size"], "eps_hat": self.eps * (1.0 - self.betas[1] ** step)}

    def update(
        self, b: Builder, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], s: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        m = slots["exp_avg"] * self.betas[0] + g * (1.0 - self.betas[0])
        v = slots["exp_avg_sq"] * self.betas[1] + g * g * (1.0 - self.betas[1])
        return p - s["step_size"] * m / b.op("Sqrt", v + s["eps_hat"]), {"exp_avg": m, "exp_avg_sq": v}
