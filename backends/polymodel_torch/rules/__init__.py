"""Rules of the PyTorch backend: importing this package fills the table."""

from polymodel_torch.rules import (
    attention,
    casts,
    convolution,
    elementwise,
    indexing,
    linear,
    logic,
    loss,
    movement,
    normalization,
    pooling,
    random,
    recurrent,
    reduction,
    sampling,
    selection,
)
from polymodel_torch.rules.table import TABLE

__all__ = [
    "TABLE",
    "attention",
    "casts",
    "convolution",
    "elementwise",
    "indexing",
    "linear",
    "logic",
    "loss",
    "movement",
    "normalization",
    "pooling",
    "random",
    "recurrent",
    "reduction",
    "sampling",
    "selection",
]
