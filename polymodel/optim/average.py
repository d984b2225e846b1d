"""Averages of the parameters over steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from polymodel.builder import Builder
from polymodel.errors import ConfigError
from polymodel.optim.base import hyper
from polymodel.optim.wrapped import Wrapped
from polymodel.tensor import Tensor

EMA = "ema"
"""Name of the slot that holds the average."""


def is_average(key: str) -> bool:
    """Whether "SLOT/PARAMETER", or "PHASE.SLOT/PARAMETER", is an average."""
    return key.partition("/")[0].rpartition(".")[2] == EMA


@final
@dataclass(frozen=True)
class Averaged(Wrapped):
    """Another rule, with an exponential moving average of the parameters after each step (Polyak & Juditsky, 1992).

    ema = d * ema + (1 - d) * p, from ema = p before the first step; d = decay, or min(decay, (1 + t) / (10 + t)) while it
    warms up (tf.train.ExponentialMovingAverage with num_updates).

    Training goes on with the parameters themselves; Trainer.averages and the callback EMA use the averages.

    Args:
        inner: the rule.
        decay: in [0, 1).
        warmup: whether the first steps count more.

    Raises:
        ConfigError: a value outside its range, or the inner rule is averaged already.

    Example:
        >>> from polymodel.optim import SGD
        >>> Averaged(SGD(0.1, momentum=0.9), 0.99).slots
        ('momentum_buffer', 'ema')
    """

    decay: float = 0.999
    warmup: bool = False

    def __post_init__(self) -> None:
        if EMA in self.inner.slots:
            raise ConfigError("the optimizer averages its parameters already")
        object.__setattr__(self, "decay", hyper("ema.decay", self.decay, 0, 1, open_high=True))

    @property
    def slots(self) -> tuple[str, ...]:
        return (*self.inner.slots, EMA)

    def slot_shapes(self, name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Those of the rule, and the average."""
        return {**self.inner.slot_shapes(name, shape), EMA: shape}

    def start(self, name: str, value: np.ndarray) -> dict[str, np.ndarray]:
        """The average begins at the parameter."""
        return {**self.inner.start(name, value), EMA: value.copy()}

    def scalars(self, lr: float, step: int) -> dict[str, float]:
        decay = min(self.decay, (1.0 + step) / (10.0 + step)) if self.warmup else self.decay
        return {**self.inner.scalars(lr, step), "ema.keep": decay, "ema.mix": 1.0 - decay}

    def update(
        self, b: Builder, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], s: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        new_p, new = self.inner.update(b, p, g, {k: v for k, v in slots.items() if k != EMA}, s)
        return new_p, {**new, EMA: slots[EMA] * s["ema.keep"] + new_p * s["ema.mix"]}

    def words(self) -> dict[str, object]:
        """What a configuration says besides the rule."""
        return {"ema": {"decay": self.decay, "warmup": self.warmup}}
