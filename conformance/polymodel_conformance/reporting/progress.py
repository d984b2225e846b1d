"""Progress on a terminal: what is judged, how far, how long still; nothing elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from polymodel_conformance.tolerance.verdict import Verdict


@final
class Progress:
    """A progress bar on standard error.

    Args:
        total: number of judgements.
        quiet: shows nothing; by default when standard error is no terminal.
    """

    def __init__(self, total: int, quiet: bool | None) -> None:
        console = Console(stderr=True)
        hidden = not (sys.stderr.isatty() and console.is_terminal) if quiet is None else quiet
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=hidden,
            transient=True,
        )
        self._task = self._bar.add_task("conformance", total=total)
        self._bad = 0

    def advance(self, case: str, verdict: Verdict) -> None:
        """One more judged."""
        self._bad += verdict.bad
        words = f"[red]{self._bad} bad[/] " if self._bad else ""
        self._bar.update(self._task, advance=1, description=f"{words}{case[:44]:44}")

    def __enter__(self) -> Progress:
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)
