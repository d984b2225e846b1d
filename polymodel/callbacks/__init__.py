"""What may happen around a fit: checkpoints, early stopping, learning rates, logs, progress. Give them to Trainer.fit."""

from polymodel.callbacks.base import Callback
from polymodel.callbacks.checkpoints import Checkpoints
from polymodel.callbacks.csv_log import CSVLog
from polymodel.callbacks.early_stopping import EarlyStopping
from polymodel.callbacks.ema import EMA
from polymodel.callbacks.functions import Lambda
from polymodel.callbacks.learning_rate import LearningRate, ReduceOnPlateau
from polymodel.callbacks.lines import Lines
from polymodel.callbacks.nan import TerminateOnNaN
from polymodel.callbacks.progress import Progress
from polymodel.callbacks.step_lines import StepLines
from polymodel.callbacks.tensorboard import TensorBoard
from polymodel.callbacks.timing import Timing

__all__ = [
    "EMA", "CSVLog", "Callback", "Checkpoints", "EarlyStopping", "Lambda", "LearningRate", "Lines", "Progress",
    "ReduceOnPlateau", "StepLines", "TensorBoard", "TerminateOnNaN", "Timing",
]
