"""Rules of the TensorFlow backend: importing this package fills the table."""

from polymodel_tensorflow.rules import (
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
from polymodel_tensorflow.rules.table import TABLE

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
