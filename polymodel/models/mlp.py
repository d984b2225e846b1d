"""A network of fully connected layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import final

from polymodel import nn
from polymodel.nn import functional as F
from polymodel.tensor import Tensor


@final
class MLP(nn.Module):
    """Linear layers with ReLU between them: (batch, sizes[0]) -> (batch, sizes[-1]).

    Args:
        sizes: of the input, the hidden layers and the output.
    """

    def __init__(self, sizes: Sequence[int] = (784, 512, 512, 10)) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        for i, layer in enumerate(self.layers):
            x = layer(F.relu(x) if i else x)
        return x
