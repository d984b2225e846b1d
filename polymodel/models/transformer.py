"""A sequence classifier on transformer layers."""

from __future__ import annotations

from typing import final

from polymodel import nn
from polymodel.nn import functional as F
from polymodel.tensor import Tensor


@final
class TransformerClassifier(nn.Module):
    """Learned positions, layers that normalise first, mean over time: (batch, time, size) -> (batch, classes)."""

    def __init__(
        self,
        time: int = 64,
        size: int = 128,
        heads: int = 4,
        hidden: int = 512,
        layers: int = 2,
        classes: int = 10,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.positions = nn.Parameter((time, size), nn.init.normal(0.02))
        self.layers = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(size, heads, hidden, dropout, "gelu", batch_first=True, norm_first=True)
                for _ in range(layers)
            )
        )
        self.norm = nn.LayerNorm(size)
        self.head = nn.Linear(size, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        return self.head(F.mean(self.norm(self.layers(x + self.positions)), 1))
