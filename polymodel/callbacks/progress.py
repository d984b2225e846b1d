"""A progress bar on a terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar, final

from polymodel.callbacks.base import Callback

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from polymodel.training.fit import Fit
    from polymodel.training.history import Row

_PERIOD = 0.1  # seconds between two redraws: a step pays for a look at the clock only


@final
class Progress(Callback):
    """Show the epoch, steps per second, the last finished epoch and the time left; nothing where there is no terminal.

    Args:
        console: a rich console; standard error when None.
    """

    order: ClassVar[int] = 5

    def __init__(self, console: Console | None = None) -> None:
        self._console = console
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._next = 0.0

    def on_start(self, fit: Fit) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = self._console or Console(stderr=True)
        if not console.is_terminal:
            return
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps, left:"),
            TimeRemainingColumn(), TextColumn("{task.fields[last]}"), console=console, auto_refresh=False,
        )
        self._bar.start()
        self._task = self._bar.add_task("", total=None, completed=fit.done, last="")
        self._show(fit)

    def on_step(self, fit: Fit) -> None:
        if self._bar is not None and time.monotonic() >= self._next:
            self._show(fit)

    def on_epoch(self, fit: Fit, row: Row) -> None:
        if self._bar is not None and self._task is not None:
            numbers = (f"{n} {v:.4g}" for n, v in row.items() if n not in ("epoch", "step", "lr", "seconds"))
            self._bar.update(self._task, last=" ".join(numbers))
            self._show(fit)

    def on_end(self, fit: Fit) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _show(self, fit: Fit) -> None:
        assert self._bar is not None
        assert self._task is not None
        current = min(fit.epoch + (fit.batch > 0), fit.epochs)
        total = None if fit.batches is None else fit.epochs * fit.batches
        self._bar.update(
            self._task, total=total, completed=fit.done, description=f"epoch {current}/{fit.epochs}", refresh=True,
        )
        self._next = time.monotonic() + _PERIOD
