"""Validation with averaged parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from polymodel.callbacks.base import Callback

if TYPE_CHECKING:
    from polymodel.training.fit import Fit


@final
class EMA(Callback):
    """Validate with the moving averages of the parameters, and take them over at the end of the fit.

    The averages themselves belong to the optimizer, which keeps them step by step and in checkpoints:
    `Trainer(optimizer={"name": "adam", "ema": 0.999})`. Running statistics of BatchNorm are not averaged.

    Args:
        final: put the averages in the place of the parameters when the fit ends.

    Raises:
        ConfigError: at the start of a fit, the optimizer keeps no averages.
    """

    order: ClassVar[int] = -10

    def __init__(self, final: bool = True) -> None:
        self.final = final
        self._own: dict[str, np.ndarray] = {}

    def on_start(self, fit: Fit) -> None:
        fit.trainer.averages  # noqa: B018  refuses an optimizer without

    def on_validation_start(self, fit: Fit) -> None:
        program = fit.trainer.program
        self._own, program.parameters = program.parameters, fit.trainer.averages

    def on_validation_end(self, fit: Fit) -> None:
        fit.trainer.program.parameters = self._own
        self._own = {}

    def on_end(self, fit: Fit) -> None:
        if self._own:  # validation failed
            self.on_validation_end(fit)
        elif self.final:
            fit.trainer.program.parameters = fit.trainer.averages
