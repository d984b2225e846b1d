"""What is exported comes back: same graph, same values, same bytes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import polymodel as pm
from polymodel import models, nn
from polymodel.artifact.export import export, to_proto
from polymodel.artifact.load import load_onnx
from polymodel.graph import Graph

NAMES = ("mlp", "lenet", "resnet18", "lstm", "transformer")


def filled(name: str) -> Graph:
    """A reference graph whose values differ from their initial ones."""
    graph = models.reference(name).model.graph
    rng = np.random.default_rng(0)
    values = {**graph.parameters, **graph.buffers}
    return graph.with_values({n: (a + rng.uniform(0, 0.1, a.shape)).astype(a.dtype) for n, a in values.items()})


@pytest.mark.parametrize("name", NAMES)
def test_loading_gives_the_same_graph_and_exporting_again_the_same_bytes(name: str, tmp_path: Path) -> None:
    graph = filled(name)
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    export(graph, first, verify=False, metadata={"backend": "torch", "seed": "3"})
    again = load_onnx(first)
    assert again.hash == graph.hash
    assert (again.inputs, again.outputs, again.opset) == (graph.inputs, graph.outputs, graph.opset)
    assert again.specs == graph.specs
    for stored, given in ((again.parameters, graph.parameters), (again.buffers, graph.buffers)):
        assert list(stored) == list(given)
        assert all(np.array_equal(stored[n], given[n]) for n in given)
    export(again, second, verify=False)
    assert second.read_bytes() == first.read_bytes()


def test_the_file_is_what_it_promises(tmp_path: Path) -> None:
    graph = filled("resnet18")
    export(graph, tmp_path / "net.onnx", verify=False, metadata={"backend": "mxnet"})
    model = onnx.load(tmp_path / "net.onnx")
    assert (model.ir_version, model.opset_import[0].version, model.producer_name) == (10, 23, "polymodel")
    assert [t.name for t in model.graph.initializer][:102] == [*graph.parameters, *graph.buffers]
    assert [v.name for v in model.graph.input] == ["x"]
    assert [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == ["batch", 3, 32, 32]
    facts = {p.key: p.value for p in model.metadata_props}
    assert facts["polymodel.backend"] == "mxnet"
    assert facts["polymodel.graph_hash"] == graph.hash
    assert facts["polymodel.version"] == pm.__version__
    assert json.loads(facts["polymodel.verification"]) == {"verdict": "not verified"}
    onnx.checker.check_model(model, full_check=True)


def test_frozen_parameters_and_buffers_keep_their_roles(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    model = pm.Model(module, {"x": pm.TensorSpec(("batch", 1, 5, 5))}, ["y"])
    model.freeze("0.*")
    export(model.graph, tmp_path / "net.onnx", verify=False)
    again = load_onnx(tmp_path / "net.onnx")
    assert again.frozen == model.graph.frozen != frozenset()
    assert set(again.buffers) == {"1.running_mean", "1.running_var"}


def test_path_bytes_and_message_are_the_same(tmp_path: Path) -> None:
    graph = filled("mlp")
    export(graph, tmp_path / "net.onnx", verify=False)
    data = (tmp_path / "net.onnx").read_bytes()
    message = onnx.ModelProto.FromString(data)
    hashes = {load_onnx(source).hash for source in (tmp_path / "net.onnx", str(tmp_path / "net.onnx"), data, message)}
    assert hashes == {graph.hash}
    assert message.SerializeToString(deterministic=True) == data, "the caller's message was changed"


def test_equal_models_differ_in_values_only() -> None:
    first, second = (to_proto(models.reference("lenet", seed).model.graph) for seed in (0, 1))
    assert first != second
    for model in (first, second):
        for tensor in model.graph.initializer:
            tensor.ClearField("raw_data")
    assert first == second


@pytest.mark.parametrize("opset", [21, 22, 24, 25])
def test_other_opsets(opset: int, tmp_path: Path) -> None:
    graph = filled("lenet")
    found = export(graph, tmp_path / "net.onnx", opset=opset)
    assert found is not None
    assert found.passed
    again = load_onnx(tmp_path / "net.onnx")
    assert again.opset == max(opset, 23)
    assert set(again.parameters) == set(graph.parameters)


def test_loaded_weights_train_in_the_same_order_as_they_were_made() -> None:
    graph = filled("transformer")
    again = load_onnx(to_proto(graph))  # no metadata: roles are found
    assert set(again.parameters) == set(graph.parameters)


def test_export_of_resnet18_takes_less_than_a_second(tmp_path: Path) -> None:
    import time

    graph = filled("resnet18")
    times = []
    for i in range(3):
        start = time.perf_counter()
        export(graph, tmp_path / f"{i}.onnx", verify=False)
        times.append(time.perf_counter() - start)
    print(f"export of resnet18 without verification: {min(times):.3f} s")
    assert min(times) < 1
