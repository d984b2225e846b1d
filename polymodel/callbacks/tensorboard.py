"""The history as event files that TensorBoard shows."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

from polymodel.callbacks.base import Callback
from polymodel.errors import ConfigError

if TYPE_CHECKING:
    from polymodel.training.fit import Fit
    from polymodel.training.history import Row


@final
class TensorBoard(Callback):
    """Write each epoch's numbers as scalars, at the number of steps done, by tensorboardX.

    "loss" and "val_loss" become "loss/train" and "loss/validation", and so on, so that they share a chart.

    Args:
        folder: of the event files.

    Raises:
        ConfigError: tensorboardX is not installed.
    """

    order: ClassVar[int] = 20

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        try:
            self._module: Any = import_module("tensorboardX")
        except ImportError as error:
            raise ConfigError(f"TensorBoard needs tensorboardX: pip install tensorboardX ({error})") from error
        self._writer: Any = None

    def on_start(self, fit: Fit) -> None:
        self._writer = self._module.SummaryWriter(str(self.folder), purge_step=fit.trainer.step + 1)

    def on_epoch(self, fit: Fit, row: Row) -> None:
        for name, value in row.items():
            if name in ("epoch", "step"):
                continue
            held = name.startswith("val_")
            plain = name in ("lr", "seconds")
            tag = name if plain else f"{name.removeprefix('val_')}/{'validation' if held else 'train'}"
            self._writer.add_scalar(tag, value, int(row["step"]))
        self._writer.flush()

    def on_end(self, fit: Fit) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
