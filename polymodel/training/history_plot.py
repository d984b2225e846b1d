"""A history as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polymodel.errors import ConfigError

if TYPE_CHECKING:
    from polymodel.training.history import History

_NO_CURVE = ("epoch", "step", "lr", "seconds")


def plot(history: History, path: Path, names: Sequence[str] | None) -> Path:
    """See History.plot."""
    try:
        figure_module: Any = import_module("matplotlib.figure")
    except ImportError as error:
        raise ConfigError(f"a plot needs matplotlib: pip install matplotlib ({error})") from error
    there = dict.fromkeys(n for row in history for n in row)
    chosen = [n for n in there if n not in _NO_CURVE and not n.startswith("val_")] if names is None else list(names)
    if not len(history) or not chosen:
        raise ConfigError("there is nothing to draw: the history has no rows, or no column was chosen")
    figure = figure_module.Figure(figsize=(6.0, 2.6 * len(chosen)), layout="constrained")
    for axes, name in zip(figure.subplots(len(chosen), 1, squeeze=False)[:, 0], chosen, strict=True):
        for column in (name, f"val_{name}"):
            if column == name or column in there:
                rows = [row for row in history if column in row]
                axes.plot([row["epoch"] for row in rows], history[column], marker=".", label=column)
        axes.set(xlabel="epoch", ylabel=name)
        axes.legend()
    figure.savefig(path)
    return path
