"""What a callback is: hooks that Trainer.fit calls, and state that checkpoints carry."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from polymodel.training.fit import Fit
    from polymodel.training.history import Row


class Callback(ABC):  # noqa: B024  every hook may be left out
    """Hooks around a fit. Every hook may be left out; a step costs nothing for callbacks without `on_step`.

    Callbacks are called in ascending order of `order`, those of one order as they were given; at the end of something the other
    way round, so that the first to begin is the last to end:

        on_start
            for each epoch: on_epoch_start
                for each step: on_step
                for an epoch with validation: on_validation_start, on_validation_end (the other way round)
            on_epoch
        on_end (the other way round)

    Attributes:
        order: -10 and less change what is trained, 0 to 10 decide, 20 to 50 write what was decided, 100 saves it all.
        ends_on_nan: whether a loss that is not finite ends the fit, instead of raising NonFiniteLoss.
    """

    order: ClassVar[int] = 0
    ends_on_nan: ClassVar[bool] = False

    def on_start(self, fit: Fit) -> None:  # noqa: B027  a hook that may be left out
        """Before the first step, after a checkpoint was read."""

    def on_epoch_start(self, fit: Fit) -> None:  # noqa: B027
        """Before the first step of an epoch that this fit does, or goes on with."""

    def on_step(self, fit: Fit) -> None:  # noqa: B027
        """After each step was handed to the device. Reading a loss here would wait for it: do not."""

    def on_validation_start(self, fit: Fit) -> None:  # noqa: B027
        """Before samples are evaluated."""

    def on_validation_end(self, fit: Fit) -> None:  # noqa: B027
        """After that."""

    def on_epoch(self, fit: Fit, row: Row) -> None:  # noqa: B027
        """After an epoch and its validation, with its row of the history."""

    def on_end(self, fit: Fit) -> None:  # noqa: B027
        """When the fit ends, for whatever reason."""

    @property
    def sees_steps(self) -> bool:
        """Whether `on_step` does anything."""
        return type(self).on_step is not Callback.on_step

    @property
    def key(self) -> str:
        """Name under which checkpoints keep the state."""
        return type(self).__name__

    def state(self) -> dict[str, Any]:
        """What a resumed fit must know; JSON can hold it."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Take over the state of a checkpoint."""
