"""Which of two epochs was better, by one column of the history."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, final

from polymodel.errors import ConfigError
from polymodel.losses import LOSSES
from polymodel.training.history import from_word, to_word

Mode: TypeAlias = Literal["auto", "min", "max"]


@final
class Monitor:
    """The best value of a column so far.

    Args:
        column: "loss", "val_loss", "val_accuracy", ...
        mode: whether less or more is better; "auto" takes less for losses, errors and perplexity, by the end of the name.
        min_delta: by how much a value must be better, >= 0.

    Raises:
        ConfigError: an unknown mode or a negative min_delta.

    Example:
        >>> monitor = Monitor("val_accuracy")
        >>> [monitor.improved({"val_accuracy": v}) for v in (0.5, 0.4, 0.6)]
        [True, False, True]
    """

    def __init__(self, column: str, mode: Mode = "auto", min_delta: float = 0.0) -> None:
        if mode not in ("auto", "min", "max"):
            raise ConfigError(f"mode must be 'auto', 'min' or 'max', received {mode!r}")
        if not min_delta >= 0:
            raise ConfigError(f"min_delta must be 0 or more, received {min_delta}")
        self.column = column
        self.min_delta = min_delta
        less = mode == "min" or (mode == "auto" and column.endswith(("loss", "error", "rmse", "perplexity", *LOSSES)))
        self.sign = 1.0 if less else -1.0
        self.best = math.nan

    def check(self, columns: Sequence[str]) -> None:
        """Refuse a column that no epoch will have.

        Raises:
            ConfigError: names the nearest column.
        """
        if self.column not in columns:
            close = difflib.get_close_matches(self.column, columns, n=1)
            hint = f" did you mean {close[0]!r}?" if close else ""
            way = " Pass validation= to fit." if self.column.startswith("val_") and close != [self.column] else ""
            raise ConfigError(f"nothing is called {self.column!r};{hint} there are {', '.join(columns)}.{way}")

    def improved(self, row: Mapping[str, float]) -> bool:
        """Whether a row is better than all before it; remembered if so. A NaN never is."""
        value = row[self.column]
        if math.isnan(value):
            return False
        if math.isnan(self.best) or self.sign * value < self.sign * self.best - self.min_delta:
            self.best = value
            return True
        return False

    def state(self) -> dict[str, Any]:
        """For checkpoints."""
        return {"column": self.column, "best": to_word(self.best)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """From a checkpoint; the best of another column does not count."""
        if state.get("column") == self.column:
            self.best = from_word(state["best"])
