"""Rules of the MXNet backend: importing this package fills the table."""

from polymodel_mxnet.rules import (
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
    selection,
)
from polymodel_mxnet.rules.table import TABLE

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
    "selection",
]
