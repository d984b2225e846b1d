"""LSTM and GRU against torch's, with its gates put into ONNX's order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from polymodel import Model, TensorSpec, nn
from polymodel.tensor import Tensor
from tests.runtime import run_graph

ORDER = {"LSTM": [0, 3, 1, 2], "GRU": [1, 0, 2]}  # torch's i f g o -> ONNX's i o f c; torch's r z n -> ONNX's z r h


def from_torch(native: torch.nn.RNNBase, kind: str) -> dict[str, np.ndarray]:
    """Our parameters with torch's values."""
    state = {k: v.numpy() for k, v in native.state_dict().items()}

    def gates(name: str) -> np.ndarray:
        parts = np.split(state[name], len(ORDER[kind]))
        return np.concatenate([parts[i] for i in ORDER[kind]])

    values: dict[str, np.ndarray] = {}
    for k in range(native.num_layers):
        ends = [f"l{k}", f"l{k}_reverse"][: 2 if native.bidirectional else 1]
        values[f"weight_ih_l{k}"] = np.stack([gates(f"weight_ih_{e}") for e in ends])
        values[f"weight_hh_l{k}"] = np.stack([gates(f"weight_hh_{e}") for e in ends])
        if native.bias:
            values[f"bias_l{k}"] = np.stack(
                [np.concatenate([gates(f"bias_ih_{e}"), gates(f"bias_hh_{e}")]) for e in ends]
            )
    return values


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"batch_first": True},
        {"bidirectional": True},
        {"num_layers": 2, "bidirectional": True, "batch_first": True},
        {"num_layers": 3, "bias": False},
    ],
)
def test_against_torch(kind: str, arguments: dict[str, Any], run: Any, rng: np.random.Generator) -> None:
    native = getattr(torch.nn, kind)(3, 4, **arguments)
    batch_axis = 0 if arguments.get("batch_first") else 1
    x = rng.standard_normal((5, 6, 3), dtype=np.float32)
    outputs = 3 if kind == "LSTM" else 2
    _, model = run(getattr(nn, kind)(3, 4, **arguments), x, outputs=outputs, axis=batch_axis)
    model.values = from_torch(native, kind)
    y, *states = run_graph(model.graph, {"x0": x})
    expected, final = native(torch.from_numpy(x))
    for ours, theirs in zip([y, *states], [expected, *(final if kind == "LSTM" else [final])], strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layers", [1, 2])
def test_states_at_the_start(layers: int, run: Any, rng: np.random.Generator) -> None:
    class Net(nn.Module[Any]):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(3, 4, layers)

        def forward(self, x: Tensor, h: Tensor, c: Tensor) -> Any:
            return self.rnn(x, (h, c))

    x, h, c = (rng.standard_normal(s, dtype=np.float32) for s in ((5, 2, 3), (layers, 2, 4), (layers, 2, 4)))
    (y, hn, cn), model = run(Net(), x, h, c, outputs=3, axis=1)
    native = torch.nn.LSTM(3, 4, layers)
    inverse = np.argsort(ORDER["LSTM"])
    state: dict[str, torch.Tensor] = {}
    for k in range(layers):
        for word, name in (("weight_ih", "weight_ih"), ("weight_hh", "weight_hh")):
            parts = np.split(model.values[f"rnn.{word}_l{k}"][0], 4)
            state[f"{name}_l{k}"] = torch.from_numpy(np.concatenate([parts[i] for i in inverse]))
        for name, half in zip(("bias_ih", "bias_hh"), np.split(model.values[f"rnn.bias_l{k}"][0], 2), strict=True):
            parts = np.split(half, 4)
            state[f"{name}_l{k}"] = torch.from_numpy(np.concatenate([parts[i] for i in inverse]))
    native.load_state_dict(state)
    expected, (eh, ec) = native(torch.from_numpy(x), (torch.from_numpy(h), torch.from_numpy(c)))
    for ours, theirs in zip((y, hn, cn), (expected, eh, ec), strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_lengths_stop_a_sequence(run: Any, rng: np.random.Generator) -> None:
    class Net(nn.Module[Any]):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(3, 4)

        def forward(self, x: Tensor, lengths: Tensor) -> Any:
            return self.rnn(x, lengths=lengths)[1]

    x = rng.standard_normal((5, 2, 3), dtype=np.float32)

    class Fixed(nn.Module[Any]):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net()

        def forward(self, x: Tensor, lengths: Tensor) -> Any:
            return self.net(x, lengths)

    model = Model(Fixed(), {"x": TensorSpec((5, "batch", 3)), "n": TensorSpec(("batch",), "int32")}, ["h"])
    (h,) = run_graph(model.graph, {"x": x, "n": np.array([5, 2], np.int32)})
    short = Model(Fixed(), {"x": TensorSpec((2, "batch", 3)), "n": TensorSpec(("batch",), "int32")}, ["h"])
    (expected,) = run_graph(short.graph, {"x": x[:2], "n": np.array([2, 2], np.int32)})
    np.testing.assert_allclose(h[:, 1], expected[:, 1], rtol=1e-6)
    assert not np.allclose(h[:, 0], expected[:, 0])


def test_an_output_that_nobody_reads_leaves_no_nodes(run: Any, rng: np.random.Generator) -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(3, 4, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            h: Tensor = self.rnn(x)[1][0]
            return h[0]

    x = rng.standard_normal((2, 5, 3), dtype=np.float32)
    (y,), model = run(Last(), x)
    assert y.shape == (2, 4)
    assert [n.op_type for n in model.graph.model.graph] == ["Transpose", "LSTM", "Squeeze"]
