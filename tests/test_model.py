"""Model: values, graphs, freezing, summary, imported graphs."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from polymodel import Graph, Model, TensorSpec, models, nn
from polymodel.errors import GraphError
from polymodel.flops import flops_by_node
from polymodel.nn import functional as F
from polymodel.tensor import Tensor
from tests.runtime import run_graph

SPEC = {"x": TensorSpec(("batch", 4))}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(4, 8)
        self.norm = nn.BatchNorm1d(8)
        self.fc2 = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.relu(self.norm(self.fc1(x))))


@pytest.fixture
def model() -> Model:
    return Model(Net(), SPEC, ["logits"], seed=1)


def test_graph_of_inference(model: Model) -> None:
    graph = model.graph
    assert graph.inputs == ("x",)
    assert graph.outputs == ("logits",)
    assert [v.name for v in graph.model.graph.inputs] == ["x", *graph.parameters, *graph.buffers]
    assert graph.specs["logits"] == TensorSpec(("batch", 3))
    assert graph.opset == 23
    assert graph.updates == {}


def test_loss_and_metrics_are_outputs(model: Model) -> None:
    for make in (model.inference_graph, model.training_graph):
        graph = make("cross_entropy", ["accuracy"])
        assert graph.inputs == ("x", "target")
        assert graph.outputs == ("logits", "loss", "accuracy")
        assert graph.specs["target"] == TensorSpec(("batch",), "int64")
        assert graph.specs["loss"] == graph.specs["accuracy"] == TensorSpec((), "float32")
    with pytest.raises(GraphError, match="metrics need a loss"):
        model.inference_graph(metrics=["accuracy"])


def test_values_are_assigned_by_name(model: Model) -> None:
    x = np.ones((2, 4), np.float32)
    (before,) = run_graph(model.graph, {"x": x})
    model.values = {"fc2.bias": np.full(3, 5, np.float32)}
    assert model.values["fc2.bias"][0] == 5
    (after,) = run_graph(model.graph, {"x": x})
    assert not np.allclose(before, after)
    np.testing.assert_array_equal(model.training_graph("mse").parameters["fc2.bias"], 5)


def test_values_that_do_not_fit_are_refused(model: Model) -> None:
    with pytest.raises(GraphError, match=r"'fc3\.bias' is neither a parameter nor a buffer"):
        model.values = {"fc3.bias": np.zeros(3, np.float32)}
    with pytest.raises(GraphError, match=r"'fc2.bias' is float32\[3\], received float32\[4\]"):
        model.values = {"fc2.bias": np.zeros(4, np.float32)}
    with pytest.raises(GraphError, match=r"received float64\[3\]"):
        model.values = {"fc2.bias": np.zeros(3)}
    assert (model.values["norm.running_var"] == 1).all()


def test_freezing_by_pattern(model: Model) -> None:
    assert model.freeze("fc*", "norm.bias") == ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias", "norm.bias"]
    assert model.training_graph("mse").trainable == ("norm.weight",)
    assert model.unfreeze("*.weight") == ["fc1.weight", "norm.weight", "fc2.weight"]
    assert model.frozen == {"fc1.bias", "fc2.bias", "norm.bias"}
    with pytest.raises(GraphError, match=r"pattern 'conv\*' matches no parameter; there are fc1.weight"):
        model.freeze("conv*")


def test_outputs_by_order_and_by_name() -> None:
    class Pair(nn.Module[tuple[Tensor, Tensor]]):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x + 1.0, x * 2.0

    class Named(nn.Module[dict[str, Tensor]]):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"a": x + 1.0, "b": x * 2.0}

    x = np.ones((1, 4), np.float32)
    a, b = run_graph(Model(Pair(), SPEC, ["a", "b"]).graph, {"x": x})
    assert (a[0, 0], b[0, 0]) == (2, 2)
    assert Model(Named(), SPEC, ["b"]).graph.outputs == ("b",)
    with pytest.raises(GraphError, match="forward returned 2 tensors, outputs names 1"):
        Model(Pair(), SPEC, ["a"])
    with pytest.raises(GraphError, match="forward returned a, b; outputs names c too"):
        Model(Named(), SPEC, ["c"])


def test_an_input_returned_as_it_is_has_a_name_of_its_own() -> None:
    class Same(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    x = np.ones((1, 4), np.float32)
    np.testing.assert_array_equal(run_graph(Model(Same(), SPEC, ["y"]).graph, {"x": x})[0], x)


def test_wrong_arguments_say_what_is_right() -> None:
    with pytest.raises(GraphError, match=r"expected a module, received Graph: Model\.from_graph"):
        Model(Model(Net(), SPEC, ["y"]).graph, SPEC, ["y"])  # type: ignore[arg-type]
    with pytest.raises(GraphError, match="outputs is a list of one name or more, received 'logits'"):
        Model(Net(), SPEC, "logits")
    with pytest.raises(GraphError, match=r"name 'fc1\.bias' is taken"):
        Model(Net(), {"fc1.bias": SPEC["x"]}, ["y"])


def test_the_structure_has_one_hash_whatever_the_values(model: Model) -> None:
    other = Model(Net(), SPEC, ["logits"], seed=2)
    assert not np.array_equal(model.values["fc1.weight"], other.values["fc1.weight"])
    assert model.graph.hash == other.graph.hash
    assert model.graph.hash != model.training_graph("mse").hash


# -- imported graphs --------------------------------------------------------------------------------------------------


def test_from_graph_makes_the_training_graph_of_the_module(model: Model) -> None:
    """The same calls with the same attributes, and the same numbers for state and loss."""
    imported = Model.from_graph(model.graph)
    ours, direct = (m.training_graph("cross_entropy", ["accuracy"]) for m in (imported, model))
    assert ours.outputs == direct.outputs
    assert list(ours.updates) == list(direct.updates)
    assert [n.op_type for n in ours.model.graph] == [n.op_type for n in direct.model.graph]
    rng = np.random.default_rng(0)
    feeds = {"x": rng.standard_normal((6, 4), dtype=np.float32), "target": rng.integers(0, 3, 6)}
    results = [ReferenceEvaluator(g.proto()).run(None, {**feeds, **g.parameters, **g.buffers}) for g in (ours, direct)]
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_from_graph_freezes_and_assigns(model: Model) -> None:
    imported = Model.from_graph(model.graph)
    imported.freeze("norm*")
    graph = imported.training_graph("mse")
    assert graph.updates == {}
    assert graph.trainable == ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")
    imported.values = {"fc2.bias": np.ones(3, np.float32)}
    assert imported.graph.parameters["fc2.bias"][0] == 1
    assert model.values["fc2.bias"][0] != 1
    assert imported.inference_graph("mse").outputs == ("logits", "loss")


def test_a_graph_is_not_changed_by_its_model(model: Model) -> None:
    graph = model.graph
    before = graph.hash
    imported = Model.from_graph(graph)
    imported.training_graph("mse")
    imported.inference_graph("mse")
    assert Graph(graph.model, graph.inputs, graph.outputs, graph.parameters).hash == before


# -- summary and FLOPs ------------------------------------------------------------------------------------------------


def test_summary(model: Model) -> None:
    model.freeze("norm*")
    summary = model.summary(batch=5)
    assert [(r.path, r.kind, r.parameters, r.flops) for r in summary.rows] == [
        ("fc1", "Linear", 40, 5 * 2 * 4 * 8),
        ("norm", "BatchNorm1d", 16, 0),
        ("fc2", "Linear", 27, 5 * 2 * 8 * 3),
    ]
    assert (summary.parameters, summary.trainable, summary.frozen, summary.buffers) == (83, 67, 16, 16)
    text = str(summary)
    assert "float32[batch, 8]" in text
    assert "16 frozen" in text
    assert "83 parameters: 67 trainable, 16 frozen; 16 in buffers" in text


def test_summary_of_an_imported_graph(model: Model) -> None:
    summary = Model.from_graph(model.graph).summary()
    assert [r.kind for r in summary.rows] == ["Gemm", "BatchNormalization", "Relu", "Gemm"]
    assert summary.parameters == 83
    assert summary.flops == model.flops == 2 * (4 * 8 + 8 * 3)


def test_a_shared_parameter_counts_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 4, bias=False)
            self.b = nn.Linear(4, 4, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x))

    summary = Model(Tied(), SPEC, ["y"]).summary()
    assert summary.parameters == 16
    assert summary.flops == 64


def test_flops_of_the_reference_models_are_the_literature_formula() -> None:
    """2 for each multiply-add of products and convolutions, layer by layer."""
    conv = [(3, 64, 3, 32), (64, 64, 3, 32), (64, 64, 3, 32), (64, 64, 3, 32), (64, 64, 3, 32)]
    for i, o, h in ((64, 128, 16), (128, 256, 8), (256, 512, 4)):
        conv += [(i, o, 3, h), (o, o, 3, h), (i, o, 1, h), (o, o, 3, h), (o, o, 3, h)]
    expected = {
        "mlp": 2 * (784 * 512 + 512 * 512 + 512 * 10),
        "lenet": 2 * (20 * 25 * 24**2 + 50 * 20 * 25 * 8**2 + 800 * 500 + 500 * 10),
        "resnet18": sum(2 * i * o * k * k * h * h for i, o, k, h in conv) + 2 * 512 * 10,
        "lstm": 2 * (64 * (64 + 128) * 512 + 128 * 10),
        "transformer": 2 * (2 * 64 * (128 * 384 + 2 * 64 * 128 + 128 * 128 + 2 * 128 * 512) + 128 * 10),
    }
    assert {name: models.reference(name).model.flops for name in models.REFERENCE} == expected


def test_flops_with_two_unknown_sizes_need_numbers() -> None:
    class Product(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x @ F.permute(x, (0, 2, 1))

    model = Model(Product(), {"x": TensorSpec(("batch", "time", 8))}, ["y"])
    with pytest.raises(GraphError, match="depend on sizes time"):
        _ = model.flops
    assert sum(flops_by_node(model.graph, {"batch": 2, "time": 3}).values()) == 2 * 2 * 3 * 3 * 8


def test_the_same_model_starts_the_same_in_another_process() -> None:
    code = (
        "import json, polymodel as pm; m = pm.models.digits_cnn(seed=7);"
        "print(json.dumps({n: float(v.sum(dtype='float64')) for n, v in m.values.items()}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = {n: float(v.sum(dtype="float64")) for n, v in models.digits_cnn(seed=7).values.items()}
    assert json.loads(done.stdout) == here


def test_parameters_are_drawn_anew_as_a_layer_would_draw_them() -> None:
    def make(drawn: nn.init.Initializer = nn.init.zeros) -> Model:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter((3, 4), drawn)

            def forward(self, x: Tensor) -> Tensor:
                return x @ self.weight

        return Model(Net(), {"x": TensorSpec(("batch", 3))}, ["y"], seed=5)

    model = make()
    assert model.initialize({"name": "msra_prelu", "slope": 0.5}, "w*") == ["weight"]
    want = make(nn.init.msra_prelu(slope=0.5)).values["weight"]
    np.testing.assert_array_equal(model.values["weight"], want)
    np.testing.assert_array_equal(model.graph.parameters["weight"], want)
    with pytest.raises(GraphError, match="pattern 'bias' matches no parameter"):
        model.initialize("zeros", "bias")
