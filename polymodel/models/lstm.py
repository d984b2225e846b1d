"""A sequence classifier on an LSTM's last state."""

from __future__ import annotations

from typing import final

from polymodel import nn
from polymodel.tensor import Tensor


@final
class LSTMClassifier(nn.Module):
    """One LSTM layer and a linear one on its last hidden state: (batch, time, inputs) -> (batch, classes)."""

    def __init__(self, inputs: int = 64, hidden: int = 128, classes: int = 10) -> None:
        super().__init__()
        self.rnn = nn.LSTM(inputs, hidden, batch_first=True)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        _, (h, _) = self.rnn(x)
        return self.head(h[0])
