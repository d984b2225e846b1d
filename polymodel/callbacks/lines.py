"""One line of text an epoch, for logs and for output that is no terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, final

from polymodel.callbacks.base import Callback

if TYPE_CHECKING:
    from polymodel.training.fit import Fit
    from polymodel.training.history import Row


@final
class Lines(Callback):
    """Hand a line of text about each epoch to a function.

    Args:
        write: takes the line, without a line end.

    Example:
        >>> Lines(print).write is print
        True
    """

    order: ClassVar[int] = 30

    def __init__(self, write: Callable[[str], None]) -> None:
        self.write = write

    def on_epoch(self, fit: Fit, row: Row) -> None:
        numbers = (f"{n} {v:.6g}" for n, v in row.items() if n not in ("epoch", "step", "seconds"))
        self.write(f"epoch {fit.epoch}/{fit.epochs}  step {row['step']}  {'  '.join(numbers)}  {row['seconds']:.2f} s")

    def on_end(self, fit: Fit) -> None:
        if fit.reason:
            self.write(f"stopped after epoch {fit.epoch}: {fit.reason}")
