"""What may happen around a fit: checkpoints, early stopping, logs, progress. Give them to Trainer.fit."""

from polymodel.callbacks.base import Callback
from polymodel.callbacks.checkpoints import Checkpoints
from polymodel.callbacks.csv_log import CSVLog
from polymodel.callbacks.early_stopping import EarlyStopping
from polymodel.callbacks.lines import Lines
from polymodel.callbacks.progress import Progress

__all__ = ["CSVLog", "Callback", "Checkpoints", "EarlyStopping", "Lines", "Progress"]
