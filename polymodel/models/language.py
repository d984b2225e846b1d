"""A character language model on LSTM layers (Graves, "Generating sequences with recurrent neural networks", 2013, section 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from polymodel import nn
from polymodel.errors import GraphError
from polymodel.model import Model
from polymodel.nn import functional as F
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor


@final
class CharLanguageModel(nn.Module[Any]):
    """Embedding, LSTM layers, a linear layer: what comes next, after every character.

    int64 (batch, time) -> logits (batch, vocabulary, time), classes in axis 1 as the cross entropy wants them. Called with a state, two
    tensors (layers, batch, hidden), it begins there and returns (logits, h, c): see `char_steps`.

    Args:
        vocabulary: number of characters.
        embedding: size of a character's vector.
        hidden: size of the state.
        layers: on top of each other.
        dropout: probability in training, between layers and before the linear layer.
    """

    def __init__(
        self, vocabulary: int = 96, embedding: int = 64, hidden: int = 256, layers: int = 2, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.rnn = nn.LSTM(embedding, hidden, layers, batch_first=True, dropout=dropout)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, vocabulary)

    def forward(self, tokens: Tensor, h: Tensor | None = None, c: Tensor | None = None) -> Any:
        """Logits, with a state the state after them too."""
        state = None if h is None or c is None else (h, c)
        y, (last_h, last_c) = self.rnn(self.embedding(tokens), state)
        logits = F.permute(self.head(self.dropout(y)), (0, 2, 1))
        return logits if state is None else (logits, last_h, last_c)


def char_steps(model: Model) -> Model:
    """The model that generates: with the state as inputs "h" and "c" and outputs "next_h" and "next_c", and one character in.

    Args:
        model: of a CharLanguageModel; its values now are those of the new model.

    Returns:
        Inputs "tokens" int64 (batch, 1), "h" and "c" float32 (layers, batch, hidden); outputs "logits" (batch, vocabulary, 1), "next_h",
        "next_c".

    Raises:
        GraphError: it is the model of something else.

    Example:
        >>> from polymodel.models import build
        >>> steps = char_steps(build("char_lstm", vocabulary=9, hidden=8))
        >>> steps.graph.inputs, steps.graph.outputs
        (('tokens', 'h', 'c'), ('logits', 'next_h', 'next_c'))
    """
    module = model.source
    if not isinstance(module, CharLanguageModel):
        raise GraphError(f"expected a model of a CharLanguageModel, received one of {type(module).__name__}")
    state = TensorSpec((module.rnn.num_layers, "batch", module.rnn.hidden_size))
    inputs = {"tokens": TensorSpec(("batch", 1), "int64"), "h": state, "c": state}
    steps = Model(module, inputs, ["logits", "next_h", "next_c"], model.seed)
    steps.values = model.values
    return steps


CHAR_STATE: Mapping[str, str] = {"h": "next_h", "c": "next_c"}
"""What a step's state inputs are fed with after it."""
