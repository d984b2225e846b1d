"""Every layer of polymodel.nn, in training mode where that differs."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias, final

import numpy as np

from polymodel import nn
from polymodel.model import Model
from polymodel.nn import Module
from polymodel.spec import TensorSpec
from polymodel_conformance.corpus.entry import Entry

Make: TypeAlias = Callable[[], Module[Any]]

LAYERS: dict[str, tuple[Make, tuple[int, ...]]] = {
    "relu": (nn.ReLU, (4, 7)),
    "relu6": (nn.ReLU6, (4, 7)),
    "leaky_relu": (lambda: nn.LeakyReLU(0.1), (4, 7)),
    "elu": (nn.ELU, (4, 7)),
    "celu": (lambda: nn.CELU(0.7), (4, 7)),
    "selu": (nn.SELU, (4, 7)),
    "gelu": (nn.GELU, (4, 7)),
    "gelu_tanh": (lambda: nn.GELU("tanh"), (4, 7)),
    "silu": (nn.SiLU, (4, 7)),
    "mish": (nn.Mish, (4, 7)),
    "sigmoid": (nn.Sigmoid, (4, 7)),
    "log_sigmoid": (nn.LogSigmoid, (4, 7)),
    "hardsigmoid": (nn.Hardsigmoid, (4, 7)),
    "hardswish": (nn.Hardswish, (4, 7)),
    "tanh": (nn.Tanh, (4, 7)),
    "softplus": (nn.Softplus, (4, 7)),
    "softsign": (nn.Softsign, (4, 7)),
    "softmax": (nn.Softmax, (4, 7)),
    "log_softmax": (nn.LogSoftmax, (4, 7)),
    "prelu": (lambda: nn.PReLU(3), (2, 3, 5)),
    "linear": (lambda: nn.Linear(33, 17), (5, 33)),
    "linear_3d": (lambda: nn.Linear(9, 4, bias=False), (2, 5, 9)),
    "conv1d": (lambda: nn.Conv1d(3, 5, 3, stride=2, padding=1), (2, 3, 11)),
    "conv2d": (lambda: nn.Conv2d(3, 8, 3, stride=2, padding=1), (2, 3, 9, 11)),
    "conv2d_grouped": (lambda: nn.Conv2d(4, 6, (3, 2), padding=(1, 0), groups=2, bias=False), (2, 4, 7, 8)),
    "conv_transpose2d": (lambda: nn.ConvTranspose2d(4, 3, 4, stride=2, padding=1), (2, 4, 5, 6)),
    "conv_transpose2d_grouped": (lambda: nn.ConvTranspose2d(4, 6, (3, 2), (2, 1), output_padding=(1, 0), groups=2), (2, 4, 5, 6)),
    "batch_norm1d": (lambda: nn.BatchNorm1d(5), (9, 5)),
    "batch_norm2d": (lambda: nn.BatchNorm2d(3), (4, 3, 5, 6)),
    "layer_norm": (lambda: nn.LayerNorm(37), (3, 4, 37)),
    "max_pool2d": (lambda: nn.MaxPool2d(3, stride=2, padding=1), (2, 3, 9, 8)),
    "avg_pool2d": (lambda: nn.AvgPool2d(3, stride=2, padding=1), (2, 3, 9, 8)),
    "global_avg_pool2d": (nn.GlobalAvgPool2d, (2, 3, 5, 7)),
    "global_max_pool2d": (nn.GlobalMaxPool2d, (2, 3, 5, 7)),
    "adaptive_avg_pool2d": (lambda: nn.AdaptiveAvgPool2d(1), (2, 3, 6, 4)),
    "flatten": (nn.Flatten, (2, 3, 4)),
    "dropout": (lambda: nn.Dropout(0.4), (6, 11)),
    "multihead_attention": (lambda: nn.MultiheadAttention(16, 4), (2, 5, 16)),
    "transformer_encoder_layer": (lambda: nn.TransformerEncoderLayer(16, 4, 32), (2, 5, 16)),
}
"""Constructor and shape of an input with the batch first."""


@final
class _First(Module):
    """The first of what a recurrent layer returns."""

    def __init__(self, layer: Module[Any]) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Any) -> Any:
        return self.layer(x)[0]


_MORE: dict[str, tuple[Make, tuple[int, ...]]] = {
    "lstm": (lambda: _First(nn.LSTM(4, 6)), (3, 5, 4)),
    "lstm_two_layers_both_ways": (lambda: _First(nn.LSTM(4, 6, num_layers=2, bidirectional=True)), (3, 5, 4)),
    "gru": (lambda: _First(nn.GRU(4, 6)), (3, 5, 4)),
}
_SMOKE = {"linear", "conv2d", "batch_norm2d", "layer_norm", "max_pool2d", "dropout", "lstm", "multihead_attention", "gelu"}


@lru_cache(maxsize=2)
def layers(training: bool) -> tuple[Entry, ...]:
    """All layers.

    Args:
        training: their training graph (the loss is left out), else the inference graph.
    """
    entries = [_layer(name, *row, training) for name, row in {**LAYERS, **_MORE}.items()]
    table = Model(nn.Embedding(11, 4), {"x": TensorSpec(("batch", 5), "int64")}, ["y"], 0)
    entries.append(
        Entry("layer/embedding", table.graph, lambda seed: {"x": np.random.default_rng(seed).integers(0, 11, (3, 5))})
    )
    return tuple(entries)


def _layer(name: str, make: Make, shape: tuple[int, ...], training: bool) -> Entry:
    model = Model(make(), {"x": TensorSpec(("batch", *shape[1:]))}, ["y"], 0)
    rng = np.random.default_rng(5)
    model.values = {
        n: (v + 0.3 * rng.standard_normal(v.shape)).astype(v.dtype) if "running_var" not in n else v
        for n, v in model.values.items()
    }
    graph = model.training_graph("mse") if training else model.graph

    def draw(seed: int) -> dict[str, np.ndarray]:
        x = np.random.default_rng([seed, 3]).standard_normal(shape).astype(np.float32)
        return {"x": x}

    return Entry(f"layer/{name}", graph, draw, smoke=name in _SMOKE)
