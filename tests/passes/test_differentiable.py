"""passes/differentiable.py: parameters that cannot learn are named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from polymodel import Model, TensorSpec, nn
from polymodel.errors import GraphError
from polymodel.nn import functional as F
from polymodel.tensor import Operand, Tensor


class Weighted(nn.Module):
    """A function of the input and one parameter `w`."""

    def __init__(self, function: Callable[[Tensor, Operand], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.w = nn.Parameter((4,), nn.init.ones)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.w)


def op(name: str) -> Callable[[Operand], Tensor]:
    from polymodel.builder import current_builder

    return lambda x: current_builder().op(name, x)


def model(function: Callable[[Tensor, Operand], Tensor]) -> Model:
    return Model(Weighted(function), {"x": TensorSpec(("batch", 4))}, ["y"])


@pytest.mark.parametrize(
    ("function", "node"),
    [
        (lambda x, w: x * op("Round")(w), "'Round' Round"),
        (lambda x, w: x * op("Sign")(w * 2.0), "'Sign' Sign"),
        (lambda x, w: op("Floor")(F.relu(x * w)), "'Floor' Floor"),
        (lambda x, w: F.cast(x > w, "float32"), "'Greater' Greater"),
        (lambda x, w: x * F.cast(F.cast(w, "int32"), "float32"), "'Cast' Cast"),
        (lambda x, w: F.where(w > 0.5, x, -x), "'Greater' Greater"),
    ],
)
def test_a_parameter_behind_a_step_function_is_an_error(
    function: Callable[[Tensor, Operand], Tensor], node: str
) -> None:
    built = model(function)
    with pytest.raises(GraphError, match=rf"parameter 'w' has no gradient: on its way to 'loss' stands {node}"):
        built.training_graph("mse")
    built.freeze("w")
    built.training_graph("mse")


@pytest.mark.parametrize(
    "function",
    [
        lambda x, w: F.where(w > 0.5, x * w, x),
        lambda x, w: x * w + op("Round")(w),
        lambda x, w: F.layer_norm(x, (4,), w),
        lambda x, w: F.scaled_dot_product_attention(x[:, None], (x * w)[:, None], x[:, None], num_heads=2)[:, 0],
        lambda x, w: F.clamp(x * w, -1.0, 1.0),
        lambda x, w: F.max(x * w, 1, keepdim=True) * x,
        lambda x, w: x,
    ],
)
def test_a_differentiable_way_is_enough(function: Callable[[Tensor, Operand], Tensor]) -> None:
    assert model(function).training_graph("mse").trainable == ("w",)


def test_metrics_are_no_obstacle() -> None:
    classifier = Model(nn.Linear(4, 3), {"x": TensorSpec(("batch", 4))}, ["y"])
    assert classifier.training_graph("cross_entropy", ["accuracy"]).trainable == ("weight", "bias")


def test_initial_states_learn() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(4, 4)
            self.h = nn.Parameter((1, 2, 4))
            self.c = nn.Parameter((1, 2, 4))

        def forward(self, x: Tensor) -> Tensor:
            return self.rnn(x, (self.h, self.c))[0]

    graph = Model(Net(), {"x": TensorSpec((3, 2, 4))}, ["y"]).training_graph("mse")
    assert {"h", "c"} <= set(graph.trainable)


def test_a_non_finite_start_changes_nothing() -> None:
    """The check looks at operators, not at numbers."""
    built = model(lambda x, w: x * w)
    built.values = {"w": np.full(4, np.nan, np.float32)}
    built.training_graph("mse")
