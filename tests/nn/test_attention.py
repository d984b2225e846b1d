"""Attention and the encoder layer against torch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from polymodel import Model, TensorSpec, losses, nn
from polymodel.tensor import Tensor
from tests.nn.test_layers import close, copy_into
from tests.runtime import run_graph


class Masked(nn.Module):
    def __init__(self, batch_first: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(8, 2, dropout, batch_first=batch_first)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.attend(x, mask=mask)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_self_attention(batch_first: bool, bias: bool, run: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 5, 8), dtype=np.float32)
    (y,), model = run(nn.MultiheadAttention(8, 2, bias=bias, batch_first=batch_first), x, axis=0 if batch_first else 1)
    native = copy_into(torch.nn.MultiheadAttention(8, 2, bias=bias, batch_first=batch_first), model.values)
    t = torch.from_numpy(x)
    close(y, native(t, t, t)[0])


def test_attention_to_another_sequence(run: Any, rng: np.random.Generator) -> None:
    q, k, v = (rng.standard_normal((3, t, 8), dtype=np.float32) for t in (4, 6, 6))
    (y,), model = run(nn.MultiheadAttention(8, 2, batch_first=True), q, k, v)
    native = copy_into(torch.nn.MultiheadAttention(8, 2, batch_first=True), model.values)
    close(y, native(*map(torch.from_numpy, (q, k, v)))[0])


def test_a_mask_says_what_takes_part(rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 5, 8), dtype=np.float32)
    keep = np.tril(np.ones((5, 5), bool))
    model = Model(Masked(), {"x": TensorSpec(("batch", 5, 8)), "m": TensorSpec((5, 5), "bool")}, ["y"])
    (y,) = run_graph(model.graph, {"x": x, "m": keep})
    values = {n.removeprefix("attend."): v for n, v in model.values.items()}
    native = copy_into(torch.nn.MultiheadAttention(8, 2, batch_first=True), values)
    t = torch.from_numpy(x)
    close(y, native(t, t, t, attn_mask=torch.from_numpy(~keep))[0])


def test_padding_and_causal_masks_join(rng: np.random.Generator) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attend = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: Tensor, keys: Tensor) -> Tensor:
            return self.attend(x, key_padding_mask=keys, is_causal=True)

    x = rng.standard_normal((2, 5, 8), dtype=np.float32)
    keys = np.array([[True] * 5, [True] * 3 + [False] * 2])
    model = Model(Net(), {"x": TensorSpec(("batch", 5, 8)), "k": TensorSpec(("batch", 5), "bool")}, ["y"])
    (y,) = run_graph(model.graph, {"x": x, "k": keys})
    values = {n.removeprefix("attend."): v for n, v in model.values.items()}
    native = copy_into(torch.nn.MultiheadAttention(8, 2, batch_first=True), values)
    t, later = torch.from_numpy(x), torch.triu(torch.ones(5, 5, dtype=torch.bool), 1)
    close(y, native(t, t, t, key_padding_mask=torch.from_numpy(~keys), attn_mask=later)[0])


def test_training_with_dropout_computes_the_same_attention(rng: np.random.Generator) -> None:
    """The decomposed form with nothing dropped is the operator."""
    x = rng.standard_normal((3, 5, 8), dtype=np.float32)
    keep = np.tril(np.ones((5, 5), bool))
    module = Masked(dropout=0.5)
    model = Model(module, {"x": TensorSpec(("batch", 5, 8)), "m": TensorSpec((5, 5), "bool")}, ["y"])
    (expected,) = run_graph(model.graph, {"x": x, "m": keep})
    graph = model.training_graph(losses.MSE())
    (stream,) = graph.streams.values()
    assert stream.spec.shape == ("batch", 2, 5, 5)
    mask = np.ones((3, 2, 5, 5), bool)
    y, _ = run_graph(graph, {"x": x, "m": keep, "target": x, stream.name: mask})
    # nothing is dropped, so attention is just scaled by 1 / (1 - 0.5); undo it behind the projection, whose bias is 0
    np.testing.assert_allclose(y / 2, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("batch_first", [True, False])
def test_encoder_layer(
    norm_first: bool, activation: str, batch_first: bool, run: Any, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((3, 5, 8), dtype=np.float32)
    arguments: dict[str, Any] = {"activation": activation, "norm_first": norm_first, "batch_first": batch_first}
    (y,), model = run(nn.TransformerEncoderLayer(8, 2, 16, **arguments), x, axis=0 if batch_first else 1)
    native = copy_into(torch.nn.TransformerEncoderLayer(8, 2, 16, **arguments), model.values)
    close(y, native(torch.from_numpy(x)))
