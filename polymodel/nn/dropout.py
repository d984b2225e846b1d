"""The dropout layer."""

from __future__ import annotations

from typing import final

from polymodel.errors import ConfigError
from polymodel.nn import functional as F
from polymodel.nn.module import Module
from polymodel.tensor import Operand, Tensor


@final
class Dropout(Module):
    """functional.dropout as a layer.

    Args:
        p: probability that an element is zero in training, in [0, 1).

    Example:
        >>> from polymodel import Model, TensorSpec, losses
        >>> model = Model(Dropout(0.5), {"x": TensorSpec(("batch", 3))}, ["y"])
        >>> list(model.training_graph(losses.MSE()).streams)
        ['Dropout.mask']
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ConfigError(f"dropout probability is in [0, 1), received {p}")
        self.p = p

    def forward(self, x: Operand) -> Tensor:
        """Any shape, the same out."""
        return F.dropout(x, self.p)
