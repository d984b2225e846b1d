"""Callbacks made of functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, final

from polymodel.callbacks.base import Callback

if TYPE_CHECKING:
    from polymodel.training.fit import Fit
    from polymodel.training.history import Row

Hook = Callable[[Any], None]


@final
class Lambda(Callback):
    """Call functions at the hooks of a fit; each gets the Fit, `on_epoch` its row of the history too.

    Args:
        on_start, on_epoch_start, on_step, on_validation_start, on_validation_end, on_epoch, on_end: see Callback.

    Example:
        >>> Lambda(on_epoch=lambda fit, row: print(row["loss"])).order
        50
    """

    order: ClassVar[int] = 50

    def __init__(
        self,
        *,
        on_start: Hook | None = None,
        on_epoch_start: Hook | None = None,
        on_step: Hook | None = None,
        on_validation_start: Hook | None = None,
        on_validation_end: Hook | None = None,
        on_epoch: Callable[[Any, Any], None] | None = None,
        on_end: Hook | None = None,
    ) -> None:
        self._hooks = {
            "start": on_start, "epoch_start": on_epoch_start, "step": on_step, "validation_start": on_validation_start,
            "validation_end": on_validation_end, "end": on_end,
        }
        self._on_epoch = on_epoch

    @property
    def sees_steps(self) -> bool:
        return self._hooks["step"] is not None

    def _call(self, name: str, fit: Fit) -> None:
        hook = self._hooks[name]
        if hook is not None:
            hook(fit)

    def on_start(self, fit: Fit) -> None:
        self._call("start", fit)

    def on_epoch_start(self, fit: Fit) -> None:
        self._call("epoch_start", fit)

    def on_step(self, fit: Fit) -> None:
        self._call("step", fit)

    def on_validation_start(self, fit: Fit) -> None:
        self._call("validation_start", fit)

    def on_validation_end(self, fit: Fit) -> None:
        self._call("validation_end", fit)

    def on_epoch(self, fit: Fit, row: Row) -> None:
        if self._on_epoch is not None:
            self._on_epoch(fit, row)

    def on_end(self, fit: Fit) -> None:
        self._call("end", fit)
