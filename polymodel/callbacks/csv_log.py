"""The history as a file that grows by a line an epoch."""

from __future__ import annotations

import contextlib
import csv
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, ClassVar, final

from polymodel.callbacks.base import Callback
from polymodel.errors import TrainingError

if TYPE_CHECKING:
    from polymodel.training.fit import Fit
    from polymodel.training.history import Row


@final
class CSVLog(Callback):
    """Write each epoch's row as a line of comma-separated values, numbers in full precision.

    A resumed fit begins the file with the rows that its checkpoint holds.

    Args:
        path: file to write; an earlier one is replaced.

    Raises:
        TrainingError: at the start of a fit or an epoch's end, when the file cannot be written.
    """

    order: ClassVar[int] = 20

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._stream: IO[str] | None = None

    def on_start(self, fit: Fit) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self.path.open("w", newline="", encoding="utf-8")
        except OSError as error:
            raise self._refused(error) from error
        self._write(dict(zip(fit.columns, fit.columns, strict=True)), fit)
        for row in fit.trainer.history:
            self._write(row, fit)

    def on_epoch(self, fit: Fit, row: Row) -> None:
        self._write(row, fit)

    def on_end(self, fit: Fit) -> None:
        if self._stream is not None:
            with contextlib.suppress(OSError):  # every row was flushed, or its failure reported
                self._stream.close()
            self._stream = None

    def _write(self, row: Row | dict[str, str], fit: Fit) -> None:
        assert self._stream is not None
        try:
            csv.DictWriter(self._stream, fit.columns, extrasaction="ignore", lineterminator="\n").writerow(row)
            self._stream.flush()
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> TrainingError:
        return TrainingError(f"cannot write {self.path}: {error}: free space there, or choose a writable path")
