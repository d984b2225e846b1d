"""The transformer's encoder layer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import final

from polymodel.errors import ConfigError
from polymodel.nn import functional as F
from polymodel.nn.attention import KeyValueCache, MultiheadAttention
from polymodel.nn.dropout import Dropout
from polymodel.nn.linear import Linear
from polymodel.nn.module import Module
from polymodel.nn.normalization import LayerNorm
from polymodel.tensor import Operand, Tensor


@final
class TransformerEncoderLayer(Module):
    """Self-attention and a two-layer network, each with a residual connection and layer normalisation.

        norm_first:  x = x + attend(norm1(x)); x = x + network(norm2(x))    (Xiong et al., 2020)
        otherwise:   x = norm1(x + attend(x)); x = norm2(x + network(x))    (Vaswani et al., 2017)

    Arguments and names of parameters as in torch.nn.TransformerEncoderLayer; see MultiheadAttention for the masks.

    Args:
        d_model: size of the last axis.
        nhead: heads; must divide d_model.
        dim_feedforward: size of the hidden layer of the network.
        dropout: probability in training, in attention, in the network and on both branches.
        activation: "relu", "gelu" or "gelu_tanh" (GPT-2's approximation).
        layer_norm_eps: see LayerNorm.
        batch_first: tensors are (batch, time, size) instead of (time, batch, size).
        norm_first: normalise what enters a branch instead of what leaves the sum.
        bias: whether projections and normalisations have biases.
        dtype: of parameters, input and output.

    Example:
        >>> from polymodel import Model, TensorSpec
        >>> layer = TransformerEncoderLayer(8, 2, 16, batch_first=True)
        >>> print(Model(layer, {"x": TensorSpec(("batch", 5, 8))}, ["y"]).graph.specs["y"])
        float32[batch, 5, 8]
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: str = "float32",
    ) -> None:
        super().__init__()
        if activation not in _ACTIVATIONS:
            raise ConfigError(f"activation is one of {', '.join(_ACTIVATIONS)}; received {activation!r}")
        self.activation, self.norm_first = activation, norm_first
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first, dtype)
        self.linear1 = Linear(d_model, dim_feedforward, bias, dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype)
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias, dtype)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias, dtype)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)

    def forward(
        self,
        x: Operand,
        mask: Operand | None = None,
        key_padding_mask: Operand | None = None,
        is_causal: bool = False,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """(batch, time, d_model) with batch_first, else (time, batch, d_model); the same out."""

        def attend(t: Operand) -> Tensor:
            y = self.self_attn(t, mask=mask, key_padding_mask=key_padding_mask, is_causal=is_causal, cache=cache)
            return self.dropout1(y)

        def network(t: Operand) -> Tensor:
            hidden = self.dropout(_ACTIVATIONS[self.activation](self.linear1(t)))
            return self.dropout2(self.linear2(hidden))

        if self.norm_first:
            x = x + attend(self.norm1(x))
            return x + network(self.norm2(x))
        x = self.norm1(x + attend(x))
        return self.norm2(x + network(x))


_ACTIVATIONS: dict[str, Callable[[Operand], Tensor]] = {"relu": F.relu, "gelu": F.gelu, "gelu_tanh": partial(F.gelu, approximate="tanh")}
