"""Rules of the MXNet backend: importing this package fills the table."""

from polymodel_mxnet.rules import (
    convolution,
    elementwise,
    linear,
    logic,
    loss,
    movement,
    pooling,
    reduction,
)
from polymodel_mxnet.rules.table import TABLE

__all__ = [
    "TABLE",
    "convolution",
    "elementwise",
    "linear",
    "logic",
    "loss",
    "movement",
    "pooling",
    "reduction",
]
