"""Tables on standard output."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

_WIDTH = 160  # characters where nobody says how wide the output is


def show(table: Table) -> None:
    """Print a table; in a file or a pipe it is wide enough to keep its rows on one line."""
    from rich.console import Console

    console = Console()
    (console if console.is_terminal else Console(width=_WIDTH)).print(table)
