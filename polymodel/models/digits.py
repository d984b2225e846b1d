"""A small network for the 8 x 8 digits images of scikit-learn."""

from __future__ import annotations

from typing import final

from polymodel import nn
from polymodel.model import Model
from polymodel.nn import functional as F
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor


@final
class DigitsCNN(nn.Module):
    """Two convolutions with batch normalisation, dropout, two linear layers: (batch, 1, 8, 8) -> (batch, 10)."""

    def __init__(self, dropout: float = 0.25) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(32)
        self.fc = nn.Linear(32 * 4 * 4, 64)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = F.relu(self.norm1(self.conv1(x)))
        x = F.max_pool2d(F.relu(self.norm2(self.conv2(x))), 2)
        x = self.dropout(F.relu(self.fc(F.flatten(x))))
        return self.head(x)


def digits_cnn(seed: int = 0, dropout: float = 0.25) -> Model:
    """The model with input "x", float32 (batch, 1, 8, 8), and output "logits".

    Args:
        seed: of the initial values.
        dropout: probability in training.
    """
    return Model(DigitsCNN(dropout), {"x": TensorSpec(("batch", 1, 8, 8))}, ["logits"], seed)
