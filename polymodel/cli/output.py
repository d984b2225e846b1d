"""Tables and numbers on standard output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

_WIDTH = 160  # characters where nobody says how wide the output is


def show(table: Table) -> None:
    """Print a table; in a file or a pipe it is wide enough to keep its rows on one line."""
    from rich.console import Console

    console = Console()
    (console if console.is_terminal else Console(width=_WIDTH)).print(table)


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers by name as JSON can hold them: an array (a confusion matrix) becomes lists."""
    return {n: v.tolist() if hasattr(v, "tolist") else v for n, v in values.items()}


def line(values: Mapping[str, Any]) -> str:
    """Numbers by name as text.

    Example:
        >>> line({"loss": 0.25, "confusion_matrix": [[1, 0], [0, 2]]})
        'loss 0.25  confusion_matrix [[1, 0], [0, 2]]'
    """
    return "  ".join(f"{n} {v:.6g}" if isinstance(v, float | int) else f"{n} {v}" for n, v in plain(values).items())
