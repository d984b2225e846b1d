"""Optimizers, learning-rate schedules and gradient clipping, in the words of torch.optim."""

from polymodel.optim.adadelta import Adadelta
from polymodel.optim.adagrad import Adagrad
from polymodel.optim.adam import Adam, AdamW
from polymodel.optim.adamax import Adamax
from polymodel.optim.base import Optimizer
from polymodel.optim.clip import ClipNorm, ClipValue
from polymodel.optim.lamb import LAMB
from polymodel.optim.lion import Lion
from polymodel.optim.nadam import NAdam
from polymodel.optim.named import get_clip, get_optimizer, get_schedule
from polymodel.optim.rmsprop import RMSprop
from polymodel.optim.schedules import Constant, Cosine, Schedule, Step, Warmup
from polymodel.optim.sgd import SGD

__all__ = [
    "LAMB", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "ClipNorm", "ClipValue", "Constant", "Cosine", "Lion",
    "NAdam", "Optimizer", "RMSprop", "Schedule", "Step", "Warmup", "get_clip", "get_optimizer", "get_schedule",
]
