"""Optimizers, learning-rate schedules and gradient clipping, in the words of torch.optim."""

from polymodel.optim.adadelta import Adadelta
from polymodel.optim.adafactor import Adafactor
from polymodel.optim.adagrad import Adagrad
from polymodel.optim.adam import Adam, AdamW
from polymodel.optim.adamax import Adamax
from polymodel.optim.average import Averaged
from polymodel.optim.base import Optimizer
from polymodel.optim.chains import Chain, Warmup
from polymodel.optim.clip import ClipNorm, ClipParameterNorm, ClipValue
from polymodel.optim.constraints import Constrained, Constraint, MaxNorm, NonNegative, UnitNorm
from polymodel.optim.cycles import Cosine, CosineRestarts, OneCycle
from polymodel.optim.groups import Group, Groups
from polymodel.optim.lamb import LAMB
from polymodel.optim.lion import Lion
from polymodel.optim.nadam import NAdam
from polymodel.optim.named import get_clip, get_optimizer, get_schedule
from polymodel.optim.rmsprop import RMSprop
from polymodel.optim.schedules import Constant, Exponential, InverseSqrt, MultiStep, Polynomial, Schedule, Step
from polymodel.optim.sgd import SGD

__all__ = [
    "LAMB", "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Averaged", "Chain", "ClipNorm",
    "ClipParameterNorm", "ClipValue", "Constant", "Constrained", "Constraint", "Cosine", "CosineRestarts", "Exponential",
    "Group", "Groups", "InverseSqrt", "Lion", "MaxNorm", "MultiStep", "NAdam", "NonNegative", "OneCycle", "Optimizer",
    "Polynomial", "RMSprop", "Schedule", "Step", "UnitNorm", "Warmup", "get_clip", "get_optimizer", "get_schedule",
]
