"""Rules of the TensorFlow backend: importing this package fills the table."""

from polymodel_tensorflow.rules import (
    attention,
    carried,
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
)
from polymodel_tensorflow.rules.table import TABLE

__all__ = [
    "TABLE",
    "attention",
    "carried",
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
]
