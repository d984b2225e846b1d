"""Sequence classifiers on the last state of a recurrent network, for sequences of different lengths."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, final

from polymodel import nn
from polymodel.nn import functional as F
from polymodel.tensor import Tensor


class _Classifier(nn.Module, ABC):
    """Recurrent layers, dropout on their last state, and a linear layer."""

    kind: ClassVar[Any]

    def __init__(
        self,
        inputs: int = 64,
        hidden: int = 128,
        classes: int = 10,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.rnn = self.kind(inputs, hidden, layers, batch_first=True, dropout=dropout, bidirectional=bidirectional)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden * (1 + bidirectional), classes)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits."""
        return self.head(self.dropout(_last(self.state(x, lengths), self.rnn.bidirectional)))

    @abstractmethod
    def state(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """The last hidden states (layers * directions, batch, hidden)."""


@final
class LSTMClassifier(_Classifier):
    """LSTM layers (Hochreiter and Schmidhuber, "Long short-term memory", 1997) and a linear one on the last hidden state.

    (batch, time, inputs) -> (batch, classes). With a second input, int32 (batch,), the last state is the one after so many steps, and
    what stands behind them changes nothing (`sequence_lens` of the operator).

    Args:
        inputs: size of a step.
        hidden: size of the state.
        classes: size of the output.
        layers: on top of each other.
        bidirectional: a second pass from the end; the last states of both are joined.
        dropout: probability in training, between layers and before the linear layer.
    """

    kind = nn.LSTM

    def state(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """Without the cell's."""
        last: Tensor = self.rnn(x, lengths=lengths)[1][0]
        return last


@final
class GRUClassifier(_Classifier):
    """GRU layers (Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014) and a linear one.

    Arguments, inputs and output as in LSTMClassifier.
    """

    kind = nn.GRU

    def state(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """As the layers return them."""
        last: Tensor = self.rnn(x, lengths=lengths)[1]
        return last


def _last(h: Tensor, bidirectional: bool) -> Tensor:
    """The state of the last layer: (layers * directions, batch, hidden) -> (batch, directions * hidden)."""
    return F.concat([h[-2], h[-1]], 1) if bidirectional else h[-1]
