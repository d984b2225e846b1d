"""Optimizers, learning-rate schedules and gradient clipping, in the words of torch.optim."""

from polymodel.optim.adam import Adam, AdamW
from polymodel.optim.base import Optimizer
from polymodel.optim.clip import ClipNorm, ClipValue
from polymodel.optim.named import get_clip, get_optimizer, get_schedule
from polymodel.optim.schedules import Constant, Cosine, Schedule, Step, Warmup
from polymodel.optim.sgd import SGD

__all__ = [
    "SGD", "Adam", "AdamW", "ClipNorm", "ClipValue", "Constant", "Cosine", "Optimizer", "Schedule", "Step", "Warmup",
    "get_clip", "get_optimizer", "get_schedule",
]
