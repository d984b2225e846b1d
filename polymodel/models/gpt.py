"""GPT-2 (Radford et al., "Language models are unsupervised multitask learners", 2019): a transformer that sees no later token."""

from __future__ import annotations

import math
from typing import Any, final

from polymodel import nn
from polymodel.builder import current_builder
from polymodel.errors import GraphError
from polymodel.model import Model
from polymodel.nn import functional as F
from polymodel.nn import init
from polymodel.nn.attention import KeyValueCache
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor


@final
class GPT(nn.Module[Any]):
    """Token and position embeddings, layers that normalise first, a last normalisation, logits by the token embedding's weight.

    int64 (batch, time) -> logits (batch, vocabulary, time), classes in axis 1 as the cross entropy wants them. The network of a layer has
    4 * size hidden elements and the tanh approximation of GELU. Weights start normal with deviation 0.02, those that write into the
    residual stream with 0.02 / sqrt(2 * layers), biases at zero (section 2.3).

    Args:
        vocabulary: number of tokens.
        positions: longest sequence.
        size: of a token's vector.
        heads: of the attention; must divide size.
        layers: how many.
        dropout: probability in training, behind the embeddings and in every layer.
    """

    def __init__(
        self,
        vocabulary: int = 50257,
        positions: int = 1024,
        size: int = 768,
        heads: int = 12,
        layers: int = 12,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.heads, self.capacity = heads, positions
        self.tokens = nn.Embedding(vocabulary, size)
        self.positions = nn.Embedding(positions, size)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(size, heads, 4 * size, dropout, "gelu_tanh", batch_first=True, norm_first=True)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(size)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                parameter.init = init.zeros
            elif parameter.spec.rank > 1:
                into = name.endswith(("out_proj.weight", "linear2.weight"))
                parameter.init = init.normal(0.02 / math.sqrt(2 * layers) if into else 0.02)

    def forward(self, tokens: Tensor, position: Tensor | None = None, *state: Tensor) -> Any:
        """Logits; with a position and caches, for one token, the caches after it too."""
        if position is None:
            x = self.tokens(tokens) + positions_of(self.positions, tokens)
        else:
            x = self.tokens(tokens) + F.unsqueeze(self.positions(position), 1)
        x, kept = self.dropout(x), []
        for i, layer in enumerate(self.layers):
            cache = None if position is None else KeyValueCache(state[2 * i], state[2 * i + 1], position)
            x = layer(x, is_causal=cache is None, cache=cache)
            kept += [] if cache is None else [cache.keys, cache.values]
        logits = F.permute(F.linear(self.norm(x), self.tokens.weight), (0, 2, 1))
        return logits if position is None else (logits, *kept)


def positions_of(table: nn.Embedding, tokens: Tensor) -> Tensor:
    """The vectors of positions 0, 1, ... of (batch, time) tokens: (time, size)."""
    time = tokens.shape[1]
    if isinstance(time, int):
        return table.weight[:time]
    b = current_builder()
    return b.op("Slice", table.weight, [0], b.op("Shape", tokens, start=1, end=2), [0])


def gpt_state(layers: int) -> dict[str, str]:
    """Input of the cache -> output that it is fed with next, in the order of the layers."""
    return {f"past_key_values.{i}.{k}": f"present.{i}.{k}" for i in range(layers) for k in ("key", "value")}


def gpt_steps(model: Model, capacity: int | None = None) -> Model:
    """The model that generates: one token in, with keys and values of the tokens before it as explicit inputs and outputs.

    The cache has a fixed size, so that one compiled program (and ONNX Runtime with one set of shapes) does every step.

    Args:
        model: of a GPT; its values now are those of the new model.
        capacity: longest text; the model's positions when None.

    Returns:
        Inputs "tokens" int64 (batch, 1), "position" int64 (batch,), from 0, and "past_key_values.I.key", "past_key_values.I.value"
        (batch, heads, capacity, size of a head), zeros at the start. Outputs "logits" (batch, vocabulary, 1),
        "present.I.key" and "present.I.value".

    Raises:
        GraphError: it is the model of something else, or the capacity is above the model's positions.

    Example:
        >>> from polymodel.models import build
        >>> steps = gpt_steps(build("gpt2", vocabulary=9, positions=6, size=8, heads=2, layers=1, time=6))
        >>> steps.graph.inputs
        ('tokens', 'position', 'past_key_values.0.key', 'past_key_values.0.value')
    """
    module = model.source
    if not isinstance(module, GPT):
        raise GraphError(f"expected a model of a GPT, received one of {type(module).__name__}")
    room = module.capacity if capacity is None else capacity
    if not 0 < room <= module.capacity:
        raise GraphError(f"capacity is 1 to {module.capacity}, the model's positions; received {room}")
    state = gpt_state(len(module.layers))
    past = TensorSpec(("batch", module.heads, room, module.tokens.embedding_dim // module.heads))
    inputs = {"tokens": TensorSpec(("batch", 1), "int64"), "position": TensorSpec(("batch",), "int64"), **dict.fromkeys(state, past)}
    steps = Model(module, inputs, ["logits", *state.values()], model.seed)
    steps.values = model.values
    return steps
