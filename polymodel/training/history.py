"""What a run has recorded: one row for each epoch."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, final

Row: TypeAlias = dict[str, float]


@final
class History(Sequence[Row]):
    """Rows of an epoch each; a name gives a column.

    Every row has epoch (from 1), step (steps done by its end), lr (of its last step), seconds, the mean loss and
    metrics of its batches, and, in epochs with validation, the same with "val_" in front.

    Example:
        >>> history = History([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25, "val_loss": 0.5}])
        >>> history["loss"], history["val_loss"]
        ([0.5, 0.25], [0.5])
        >>> history[-1]["epoch"]
        2
    """

    def __init__(self, rows: Sequence[Mapping[str, float]] = ()) -> None:
        self._rows: list[Row] = [dict(row) for row in rows]

    def append(self, row: Mapping[str, float]) -> None:
        """Add the row of an epoch."""
        self._rows.append(dict(row))

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            names = sorted({name for row in self._rows for name in row})
            if key not in names:
                raise KeyError(f"the history has no column {key!r}; there are {', '.join(names) or 'none'}")
            return [row[key] for row in self._rows if key in row]
        return self._rows[key]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def __repr__(self) -> str:
        return f"History({len(self._rows)} epochs, last {self._rows[-1] if self._rows else None})"

    def table(self) -> str:
        """The rows as text: a line of names, a line for each epoch, columns that line up; empty where a row has none.

        Example:
            >>> print(History([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25, "val_loss": 0.125}]).table())
            epoch  loss  val_loss
                1   0.5
                2  0.25     0.125
        """
        names = list(dict.fromkeys(n for row in self._rows for n in row))
        lines = [names, *([f"{row[n]:.6g}" if n in row else "" for n in names] for row in self._rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
        return "\n".join("  ".join(v.rjust(w) for v, w in zip(line, widths, strict=True)).rstrip() for line in lines)

    def plot(self, path: str | os.PathLike[str], names: Sequence[str] | None = None) -> Path:
        """Draw columns over epochs, each with its validation, by matplotlib.

        Args:
            path: file to write; its ending says what kind (.svg, .png, .pdf).
            names: columns, without "val_"; the loss and all metrics when None.

        Raises:
            ConfigError: matplotlib is not installed, or there is nothing to draw.
            KeyError: no such column.
        """
        from polymodel.training.history_plot import plot

        return plot(self, Path(path), names)

    def to_json(self) -> list[dict[str, float | str]]:
        """Rows that strict JSON can hold: what is not finite becomes a word."""
        return [{k: to_word(v) for k, v in row.items()} for row in self._rows]

    @classmethod
    def from_json(cls, rows: Sequence[Mapping[str, float | str]]) -> History:
        """The reverse of to_json, bit for bit."""
        return cls([{k: from_word(v) for k, v in row.items()} for row in rows])


def to_word(value: float) -> float | str:
    """A number, or the word for one that JSON cannot hold.

    Example:
        >>> to_word(0.5), to_word(float("inf"))
        (0.5, 'inf')
    """
    return value if math.isfinite(value) else str(value)


def from_word(value: float | str) -> float:
    """The reverse of to_word."""
    return float(value) if isinstance(value, str) else value
