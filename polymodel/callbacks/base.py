"""What a callback is: hooks that Trainer.fit calls, and state that checkpoints carry."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from polymodel.fit import Fit
    from polymodel.history import Row


class Callback(ABC):  # noqa: B024  every hook may be left out
    """Hooks around a fit. Every hook may be left out; a step costs nothing for callbacks without `on_step`.

    Attributes:
        order: callbacks run in ascending order: those that write what others have decided come later.
    """

    order: ClassVar[int] = 0

    def on_start(self, fit: Fit) -> None:  # noqa: B027  a hook that may be left out
        """Before the first step, after a checkpoint was read."""

    def on_step(self, fit: Fit) -> None:  # noqa: B027
        """After each step was handed to the device. Reading a loss here would wait for it: do not."""

    def on_epoch(self, fit: Fit, row: Row) -> None:  # noqa: B027
        """After an epoch and its validation, with its row of the history."""

    def on_end(self, fit: Fit) -> None:  # noqa: B027
        """When the fit ends, for whatever reason."""

    @property
    def key(self) -> str:
        """Name under which checkpoints keep the state."""
        return type(self).__name__

    def state(self) -> dict[str, Any]:
        """What a resumed fit must know; JSON can hold it."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Take over the state of a checkpoint."""
