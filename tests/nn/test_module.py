"""The tree of modules: names, sharing, errors that say where."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from polymodel import Model, TensorSpec, losses, nn
from polymodel.errors import ConfigError, DtypeError, GraphError, ShapeError
from polymodel.nn import functional as F
from polymodel.tensor import Tensor
from tests.runtime import run_graph

SPEC = {"x": TensorSpec(("batch", 4))}


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4, bias=False)
        self.second = nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.relu(self.first(x)))


class Root(nn.Module):
    """One child called `head`, whatever it is."""

    def __init__(self, head: nn.Module[Any]) -> None:
        super().__init__()
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(x)
        return result


def test_names_are_attribute_paths() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter((4,), nn.init.ones)
            self.body = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.ModuleList([nn.BatchNorm1d(4)])[0])

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.body(x * self.scale)
            return result

    model = Model(Net(), SPEC, ["y"])
    assert list(model.graph.parameters) == ["scale", "body.0.weight", "body.0.bias", "body.2.weight", "body.2.bias"]
    assert list(model.graph.buffers) == ["body.2.running_mean", "body.2.running_var"]
    assert [n.name for n in model.graph.model.graph] == [
        "Mul",
        "body.0.Gemm",
        "body.1.Relu",
        "body.2.BatchNormalization",
    ]


def test_a_shared_parameter_is_one_input_under_its_first_name(rng: np.random.Generator) -> None:
    model = Model(Tied(), SPEC, ["y"])
    assert list(model.graph.parameters) == ["first.weight"]
    x, w = rng.standard_normal((3, 4), dtype=np.float32), model.values["first.weight"]
    (y,) = run_graph(model.graph, {"x": x})
    np.testing.assert_allclose(y, np.maximum(x @ w.T, 0) @ w.T, rtol=1e-5, atol=1e-6)


def test_a_shared_module_is_listed_once_and_called_under_its_own_path() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 4)
            self.b = Root(self.a)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x))

    model = Model(Twice(), SPEC, ["y"])
    assert list(model.values) == ["a.weight", "a.bias"]
    assert [n.name for n in model.graph.model.graph] == ["a.Gemm", "a.Gemm_1"]


def test_a_parameter_takes_part_in_arithmetic(rng: np.random.Generator) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Parameter((4,), nn.init.constant(2.0))
            self.c = nn.Buffer(np.full(4, 3, np.float32))

        def forward(self, x: Tensor) -> Tensor:
            return self.a * x + 1.0 / self.c - (-self.a) ** 2.0

    x = rng.standard_normal((3, 4), dtype=np.float32)
    model = Model(Net(), SPEC, ["y"])
    (y,) = run_graph(model.graph, {"x": x})
    np.testing.assert_allclose(y, 2 * x + 1 / 3 - 4, rtol=1e-6)


def test_initial_values_depend_on_seed_and_name_only() -> None:
    alone = Model(Root(nn.Linear(4, 4)), SPEC, ["y"], seed=3).values
    tied = Model(Tied(), SPEC, ["y"], seed=3).values

    class More(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before = nn.Linear(4, 4)
            self.head = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.before(x))

    more = Model(More(), SPEC, ["y"], seed=3).values
    np.testing.assert_array_equal(alone["head.weight"], more["head.weight"])
    assert not np.array_equal(more["before.weight"], more["head.weight"])
    assert not np.array_equal(tied["first.weight"], Model(Tied(), SPEC, ["y"], seed=4).values["first.weight"])


@pytest.mark.parametrize(
    ("head", "spec", "error", "words"),
    [
        (nn.Linear(256, 4), ("batch", 128), ShapeError, r"expected last axis 256, received float32\[batch, 128"),
        (nn.Conv2d(3, 4, 3), ("batch", 1, 8, 8), ShapeError, r"expected axis 1 of size 3, received float32\["),
        (nn.Conv2d(3, 4, 3), ("batch", 3, 8), ShapeError, r"expected 4 axes, received float32\[batch, 3, 8"),
        (nn.BatchNorm2d(3), ("batch", 4, 8, 8), ShapeError, r"expected axis 1 of size 3"),
        (nn.LayerNorm((4, 5)), ("batch", 3, 5), ShapeError, r"expected axis -2 of size 4"),
        (nn.LSTM(3, 4), ("batch", 2), ShapeError, r"expected 3 axes"),
        (nn.Embedding(3, 4), ("batch",), DtypeError, r"expected indices of int32 or int64, received float"),
        (nn.Linear(4, 4, dtype="float64"), ("batch", 4), DtypeError, r"expected float64, received float32"),
        (nn.MaxPool2d(9), ("batch", 1, 8, 8), ShapeError, r"expected axis 2 of size 9 or more"),
        (nn.Conv2d(1, 1, 5, dilation=2, padding=(1, 0)), ("b", 1, 9, 8), ShapeError, "axis 3 of size 9 or more"),
        (nn.Flatten(3), ("batch", 4), ShapeError, "flatten from axis 3 to -1 does not fit float32"),
    ],
)
def test_errors_name_the_layer_and_both_sides(
    head: nn.Module[Any], spec: tuple[Any, ...], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        Model(Root(head), {"x": TensorSpec(spec)}, ["y"])
    assert str(caught.value).startswith(f"head ({type(head).__name__}): ")
    assert str(caught.value).count("head") == 1


def test_an_error_between_layers_names_the_outer_module() -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.concat([x, x[:, None]])

    with pytest.raises(ShapeError, match=r"^head \(Net\): 'head\.Concat' Concat\(float32\[batch, 4\]"):
        Model(Root(Net()), SPEC, ["y"])


def test_a_list_of_modules_is_refused() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = [nn.Linear(4, 4)]

        def forward(self, x: Tensor) -> Tensor:
            return x

    with pytest.raises(GraphError, match=r"Net\.layers is a list of modules.*nn\.ModuleList"):
        Net()


def test_a_layer_made_in_forward_is_refused() -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.Linear(4, 4)(x)

    with pytest.raises(GraphError, match=r"Linear.*is not part of the model: assign it as an attribute in __init__"):
        Model(Root(Net()), SPEC, ["y"])


def test_an_activation_made_in_forward_is_fine() -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.ReLU()(x)

    assert [n.name for n in Model(Root(Net()), SPEC, ["y"]).graph.model.graph] == ["head.ReLU.Relu"]


def test_a_module_called_outside_a_model_says_so() -> None:
    with pytest.raises(GraphError, match="no model is being built"):
        nn.Linear(4, 4)(None)
    with pytest.raises(GraphError, match="no graph is being built"):
        F.relu(None)  # type: ignore[arg-type]


def test_impossible_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match="groups must divide"):
        nn.Conv2d(3, 4, 3, groups=2)
    with pytest.raises(ConfigError, match="num_heads must divide embed_dim 8"):
        nn.MultiheadAttention(8, 3)
    with pytest.raises(ConfigError, match=r"in \[0, 1\), received 1.0"):
        nn.Dropout(1.0)
    with pytest.raises(ConfigError, match="activation is one of relu, gelu"):
        nn.TransformerEncoderLayer(8, 2, activation="swish")
    with pytest.raises(ConfigError, match="use AvgPool2d"):
        nn.AdaptiveAvgPool2d(2)


def test_a_buffer_keeps_its_shape() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen = nn.Buffer(np.zeros(2, np.float32))

        def forward(self, x: Tensor) -> Tensor:
            self.seen.update(F.sum(x, 0))
            return x

    with pytest.raises(ShapeError, match=r"buffer 'seen' is float32\[2\], received float32\[4\]"):
        Model(Net(), SPEC, ["y"])


def test_a_buffer_of_ones_own_is_updated_in_training_only() -> None:
    class Count(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.seen = nn.Buffer(np.zeros((), np.float32))

        def forward(self, x: Tensor) -> Tensor:
            self.seen.update(self.seen + 1.0)
            return self.fc(x)

    model = Model(Count(), SPEC, ["y"])
    assert model.graph.updates == {}
    x = np.zeros((3, 4), np.float32)
    graph = model.training_graph(losses.MSE())
    assert list(graph.updates) == ["seen"]
    assert run_graph(graph, {"x": x, "target": x})[-1] == 1
