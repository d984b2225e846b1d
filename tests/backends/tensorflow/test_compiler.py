"""lower.compiler: the rule behind compile="auto"."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from polymodel import Model, models, nn
from polymodel.backend import Backend, CompileOptions, Training
from polymodel.builder import Builder
from polymodel.graph import Graph
from polymodel.optim import SGD
from polymodel.passes.specialize import specialize
from polymodel.passes.to_dtype import to_dtype
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor
from polymodel_tensorflow.lower import compiler, prepare


def choice(graph: Graph, *, training: bool = True) -> str:
    return compiler(prepare(specialize(graph, graph.outputs)).nodes, training=training)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("mlp", "xla"), ("transformer", "xla"), ("lenet", "native"), ("resnet18", "native"), ("lstm", "native")],
)
def test_dense_models_train_inside_xla_and_the_others_in_graph_mode(name: str, expected: str) -> None:
    graph = models.reference(name).model.training_graph("cross_entropy")
    assert choice(graph) == expected


@pytest.mark.parametrize(("width", "expected"), [(1024, "xla"), (1025, "native")])
def test_products_by_large_matrices_stay_in_graph_mode(width: int, expected: str) -> None:
    module = nn.Sequential(nn.Linear(1024, width), nn.ReLU(), nn.Linear(width, 2))
    model = Model(module, {"x": TensorSpec(("batch", 1024))}, ["logits"])
    assert choice(model.training_graph("cross_entropy")) == expected


def test_predict_stays_in_graph_mode() -> None:
    assert choice(models.reference("mlp").model.graph, training=False) == "native"


def test_narrow_types_stay_in_graph_mode() -> None:
    assert choice(to_dtype(models.reference("mlp").model.graph, "float16")) == "native"


@pytest.mark.parametrize(("mode", "compiled"), [("auto", True), ("xla", True), ("native", False)])
def test_the_choice_is_followed(backend: Backend, mode: str, compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from polymodel_tensorflow.program import TensorFlowProgram

    seen: list[bool] = []
    trace = TensorFlowProgram.trace

    def spy(self: TensorFlowProgram, body: Callable[..., list[object]], specs: object, jit: bool) -> object:
        seen.append(jit)
        return trace(self, body, specs, jit)  # type: ignore[arg-type]

    monkeypatch.setattr(TensorFlowProgram, "trace", spy)
    reference = models.reference("mlp")
    model = reference.model
    training = Training(model.training_graph("cross_entropy"), "loss", SGD(0.1))
    program = backend.compile(
        model.inference_graph("cross_entropy"), "cpu", training=training, options=CompileOptions(compile=mode)
    )
    x, y = reference.make_batch(4)
    program.train_step({"x": x, "target": y}, lr=0.1, step=1)
    program.predict({"x": x}, ["logits"])
    assert seen == [compiled, mode == "xla"]


def test_xla_computes_what_graph_mode_computes(backend: Backend) -> None:
    graph = models.reference("transformer").model.graph
    x = np.random.default_rng(0).standard_normal((2, 64, 128)).astype(np.float32)
    left, right = (
        backend.compile(graph, "cpu", options=CompileOptions(compile=mode)).predict({"x": x})["logits"]
        for mode in ("native", "xla")
    )
    np.testing.assert_allclose(left, right, atol=2e-6)


@pytest.mark.parametrize(("inputs", "outputs"), [(3, 7), (7, 3), (4, 4)])
def test_linear_layers_have_the_same_derivatives_inside_xla(
    backend: Backend, graph_of: Callable[..., Graph], inputs: int, outputs: int
) -> None:
    def build(b: Builder, x: Tensor, w: Tensor, c: Tensor) -> Mapping[str, Tensor]:
        return {"y": b.op("MatMul", x, b.op("Transpose", w, perm=[1, 0])) + c}

    shapes = {"x": (2, 5, inputs), "w": (outputs, inputs), "c": (outputs,)}
    graph = graph_of(build, **{n: TensorSpec(s, "float64") for n, s in shapes.items()})
    rng = np.random.default_rng(0)
    feeds = {n: rng.standard_normal(s) for n, s in shapes.items()}
    cotangent = rng.standard_normal((2, 5, outputs))
    program = backend.compile(graph, "cpu", options=CompileOptions(compile="xla"))
    found = program.gradients(feeds, {"y": cotangent})
    np.testing.assert_allclose(found["x"], cotangent @ feeds["w"], rtol=1e-12)
    np.testing.assert_allclose(found["w"], np.einsum("nro,nri->oi", cotangent, feeds["x"]), rtol=1e-12)
    np.testing.assert_allclose(found["c"], cotangent.sum((0, 1)), rtol=1e-12)
