"""What an update rule is: a formula written once as a graph, with the scalars it takes at each step.

Hyperparameters are rounded to float32 when the optimizer is made. Then 1 - beta is exact in float32 as in float64
(Sterbenz), the fused kernels of the frameworks that compute it in either agree, and the float64 oracle uses the very
same numbers. See docs/decisions/0003-hyperparameters-are-float32.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from polymodel.builder import Builder
from polymodel.errors import ConfigError
from polymodel.tensor import Tensor


class Optimizer(ABC):
    """An update rule with its hyperparameters.

    Attributes:
        name: the word in configurations and checkpoints; backends look fused kernels up by it.
        lr: learning rate when no schedule says otherwise.
        positional: whether the formula depends on which axis is which, so that it must see tensors in ONNX's order of axes.
    """

    name: ClassVar[str]
    lr: float
    positional: ClassVar[bool] = False

    @property
    @abstractmethod
    def slots(self) -> tuple[str, ...]:
        """Names of the tensors kept for parameters, all of their dtype."""

    def slot_shapes(self, name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """The slots of one parameter, with their shapes: all of them, of the parameter's shape, unless a rule says otherwise.

        A slot has as many axes as its parameter, so that it can lie in memory as the parameter does.
        """
        return dict.fromkeys(self.slots, shape)

    def start(self, name: str, value: np.ndarray) -> dict[str, np.ndarray]:
        """The slots of one parameter before the first step: zeros unless a rule says otherwise."""
        return {k: np.zeros(s, value.dtype) for k, s in self.slot_shapes(name, value.shape).items()}

    def rule_for(self, name: str) -> Optimizer:
        """What updates one parameter: itself, unless parameters are treated differently."""
        return self

    @abstractmethod
    def scalars(self, lr: float, step: int) -> dict[str, float]:
        """The numbers that change from step to step, computed in float64.

        Args:
            lr: learning rate of this step.
            step: number of this step, from 1.
        """

    @abstractmethod
    def update(
        self, b: Builder, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], s: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The formula for one parameter.

        Args:
            b: builder of the update graph.
            p: parameter before the step.
            g: its gradient, clipped already.
            slots: its slots before the step.
            s: the scalars of the step, 0-dim tensors of the parameter's dtype.

        Returns:
            The parameter and the slots after the step.
        """


def hyper(name: str, value: float, low: float = 0.0, high: float = float("inf"), *, open_high: bool = False) -> float:
    """A hyperparameter rounded to float32.

    Raises:
        ConfigError: it is no number in [low, high], or [low, high) with open_high.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.floating | np.integer):
        raise ConfigError(f"{name} is a number, received {value!r}")
    inside = low <= value < high if open_high else low <= value <= high
    if not inside or not np.isfinite(value):
        raise ConfigError(f"{name} must be finite and in [{low}, {high}{')' if open_high else ']'}, received {value}")
    return float(np.float32(value))


def set_moments(rule: Optimizer) -> None:
    """Check and round the hyperparameters of a rule with two decays: lr, betas, and eps and weight_decay where it has them.

    Raises:
        ConfigError: as hyper.
    """
    betas = (hyper(f"betas[{i}]", beta, 0, 1, open_high=True) for i, beta in enumerate(rule.betas))  # type: ignore[attr-defined]
    object.__setattr__(rule, "betas", tuple(betas))
    for name in ("lr", "eps", "weight_decay"):
        if hasattr(rule, name):
            object.__setattr__(rule, name, hyper(name, getattr(rule, name)))
