"""Optimizers, learning-rate schedules and gradient clipping, in the words of torch.optim."""

from polymodel.optim.adam import Adam, AdamW
from polymodel.optim.base import Optimizer
from polymodel.optim.clip import ClipNorm, ClipValue
from polymodel.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "ClipNorm", "ClipValue", "Optimizer"]
