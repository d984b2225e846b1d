"""BERT (Devlin et al., "BERT: pre-training of deep bidirectional transformers for language understanding", NAACL 2019)."""

from __future__ import annotations

from typing import Any, final

from polymodel import nn
from polymodel.models.gpt import positions_of
from polymodel.nn import functional as F
from polymodel.nn import init
from polymodel.tensor import Tensor

EPS = 1e-12
"""Of every LayerNorm, as in the authors' code."""


@final
class BertEncoder(nn.Module):
    """Token, position and segment embeddings, layers that normalise last: int64 (batch, time) -> (batch, time, size).

    Matrices start truncated normal with deviation 0.02, biases at zero, as in the authors' code.

    Args:
        vocabulary: number of tokens.
        positions: longest sequence.
        segments: kinds of tokens.
        size: of a token's vector.
        heads: of the attention; must divide size.
        hidden: size of the hidden layer of a layer's network.
        layers: how many.
        dropout: probability in training, behind the embeddings and in every layer.
    """

    def __init__(
        self, vocabulary: int, positions: int, segments: int, size: int, heads: int, hidden: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, size)
        self.positions = nn.Embedding(positions, size)
        self.segments = nn.Embedding(segments, size)
        self.norm = nn.LayerNorm(size, EPS)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(size, heads, hidden, dropout, "gelu", EPS, batch_first=True) for _ in range(layers)
        )
        started(self)

    def forward(self, tokens: Tensor, mask: Tensor, segments: Tensor | None = None) -> Tensor:
        """States of all tokens.

        Args:
            tokens: int64 (batch, time).
            mask: int64 (batch, time), 1 for a token and 0 for padding.
            segments: int64 (batch, time); all 0 when None.
        """
        kinds = self.segments.weight[0] if segments is None else self.segments(segments)
        x = self.tokens(tokens) + positions_of(self.positions, tokens) + kinds
        x = self.dropout(self.norm(x))
        for layer in self.layers:
            x = layer(x, key_padding_mask=F.cast(mask, "bool"))
        return x


@final
class BertMaskedLM(nn.Module):
    """The encoder and the head that guesses masked tokens: -> logits (batch, vocabulary, time), by the token embedding's weight.

    The target is int64 (batch, time) with a label that does not count where nothing is masked: {"name": "cross_entropy", "ignore_index":
    -100}. Arguments as in BertEncoder.
    """

    def __init__(
        self,
        vocabulary: int = 30522,
        positions: int = 512,
        segments: int = 2,
        size: int = 768,
        heads: int = 12,
        hidden: int = 3072,
        layers: int = 12,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.bert = BertEncoder(vocabulary, positions, segments, size, heads, hidden, layers, dropout)
        self.transform = nn.Linear(size, size)
        self.norm = nn.LayerNorm(size, EPS)
        self.bias = nn.Parameter((vocabulary,))
        started(self)

    def forward(self, tokens: Tensor, mask: Tensor, segments: Tensor | None = None) -> Tensor:
        """Logits."""
        x = self.norm(F.gelu(self.transform(self.bert(tokens, mask, segments))))
        return F.permute(F.linear(x, self.bert.tokens.weight, self.bias), (0, 2, 1))


@final
class BertClassifier(nn.Module):
    """The encoder, the pooler on the first token, dropout and a linear layer: -> logits (batch, classes).

    Arguments as in BertEncoder.
    """

    def __init__(
        self,
        classes: int = 2,
        vocabulary: int = 30522,
        positions: int = 512,
        segments: int = 2,
        size: int = 768,
        heads: int = 12,
        hidden: int = 3072,
        layers: int = 12,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.bert = BertEncoder(vocabulary, positions, segments, size, heads, hidden, layers, dropout)
        self.pooler = nn.Linear(size, size)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(size, classes)
        started(self)

    def forward(self, tokens: Tensor, mask: Tensor, segments: Tensor | None = None) -> Tensor:
        """Logits."""
        first = self.bert(tokens, mask, segments)[:, 0]
        return self.head(self.dropout(F.tanh(self.pooler(first))))


def started(module: nn.Module[Any]) -> None:
    """Give matrices the initial values of BERT, and biases zeros; normalisations keep theirs."""
    for name, parameter in module.named_parameters():
        if parameter.spec.rank > 1:
            parameter.init = init.truncated_normal(0.02)
        elif name.endswith("bias"):
            parameter.init = init.zeros
