"""compare: right sides pass, wrong ones are named with the call that is to blame."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import polymodel as pm
from polymodel import models, nn
from polymodel.graph import Graph
from polymodel_conformance.comparison import run
from polymodel_conformance.comparison.meaning import decidable_inputs
from polymodel_conformance.comparison.modules import named_side
from polymodel_conformance.comparison.report import Compared
from polymodel_conformance.comparison.sides import GraphSide, Runner, runner
from polymodel_conformance.cut import cut, exposed, inner_values
from polymodel_conformance.workers.client import Answer
from polymodel_conformance.workers.jobs import Job

BACKENDS = ["torch", "tensorflow", "mxnet"]


def small() -> pm.Model:
    layers = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 4)
    )
    return pm.Model(layers, {"image": pm.TensorSpec(("batch", 2, 4, 4))}, ["logits"], seed=3)


def with_attribute(graph: Graph, op_type: str, name: str, change: Callable[[Any], Any]) -> Graph:
    """The graph with another value of an attribute of every call of an operator."""
    changed = graph.copy()
    for node in changed.model.graph:
        if node.op_type == op_type:
            node.attributes[name] = ir.convenience.convert_attribute(name, change(node.attributes[name].value))
    return replace(changed)


def wrong_side(graph: Graph, spoil: Callable[[Graph], Graph]) -> GraphSide:
    """A side that computes another graph than it is asked for."""
    right = runner("reference")
    return GraphSide("wrong", graph, "reference", Runner(lambda job: right(replace(job, graph=spoil(job.graph))), {}, lambda: None))


def compared(side: GraphSide) -> Compared:
    graph = side.graph
    assert graph is not None
    feeds, _ = decidable_inputs(graph)
    return run._compared([side, GraphSide("right", graph, "oracle", runner("oracle"))], graph, feeds, True, layers=True)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_reference_model_on_backends_and_onnxruntime(backend: str, tmp_path: Path) -> None:
    graph = models.reference("lenet").model.graph
    pm.export(graph, tmp_path / "net.onnx", verify=False)
    found = pm.compare(f"{tmp_path}/net.onnx@{backend}", tmp_path / "net.onnx")
    assert found.passed, found.to_dict()
    assert found.verdict == "pass"
    assert all(s.layers and all(layer.grown is not None for layer in s.layers if layer.rule == "rho") for s in found.sides)
    assert backend in found.sides[0].versions
    assert found.sides[1].versions["provider"] == "CPUExecutionProvider"


@pytest.mark.parametrize(
    ("op_type", "attribute", "change"),
    [("BatchNormalization", "epsilon", lambda e: 2 * e), ("Conv", "pads", lambda p: [0, 0, 2, 2]), ("Gemm", "alpha", lambda a: 1.0001)],
)
def test_the_wrong_call_is_named(op_type: str, attribute: str, change: Any) -> None:
    graph = small().graph
    if op_type == "Gemm":
        for node in graph.model.graph:
            if node.op_type == "Gemm":
                node.attributes["alpha"] = ir.convenience.convert_attribute("alpha", 1.0)
        graph = replace(graph)
    found = compared(wrong_side(graph, lambda g: with_attribute(g, op_type, attribute, change)))
    assert not found.passed
    assert found.verdict == "wrong differs from what the graph means"
    assert found.sides[0].blamed is not None
    assert found.sides[0].blamed.op_type == op_type
    assert [layer.op_type for layer in found.sides[0].layers if layer.bad] == [op_type], "the calls behind it are innocent"
    assert found.sides[1].right
    text = json.loads(json.dumps(found.to_dict()))
    assert (text["verdict"], text["sides"][0]["first_divergence"]["op_type"]) == ("differ", op_type)


def test_an_error_that_no_single_call_has() -> None:
    graph = small().graph

    def spoil(asked: Graph) -> Graph:
        return with_attribute(asked, "BatchNormalization", "epsilon", lambda e: 2 * e) if len(asked.calls) > 1 else asked

    found = compared(wrong_side(graph, spoil))
    assert not found.passed
    assert found.sides[0].blamed is None
    assert any("no call is wrong alone" in line for line in found.lines())


def test_graphs_that_mean_different_things() -> None:
    graph = small().graph
    other = with_attribute(graph, "BatchNormalization", "epsilon", lambda e: 2 * e)
    found = pm.compare((graph, "reference"), (other, "reference"), layers=False)
    assert not found.passed
    assert found.verdict == "the two graphs mean different things"
    assert all(s.right for s in found.sides)


def test_a_side_that_does_not_run_or_returns_rubbish() -> None:
    graph = small().graph
    dead = GraphSide("dead", graph, "reference", Runner(lambda job: Answer("crash", error="crash", message="gone"), {}, lambda: None))
    found = compared(dead)
    assert (found.passed, found.sides[0].problem) == (False, "crash: gone")

    def nan(job: Job) -> Answer:
        found = {n: a.copy() for n, a in runner("reference")(job).arrays.items()}
        for array in found.values():
            array.flat[0] = np.nan
        return Answer("done", found)

    found = compared(GraphSide("nan", graph, "reference", Runner(nan, {}, lambda: None)))
    assert not found.passed
    assert "NaN differs" in found.sides[0].outputs[0].detail


def test_the_picture_is_a_drawing_of_every_call() -> None:
    found = compared(wrong_side(small().graph, lambda g: with_attribute(g, "BatchNormalization", "epsilon", lambda e: 2 * e)))
    drawn = ElementTree.fromstring(found.picture())
    circles = drawn.findall(".//{http://www.w3.org/2000/svg}circle")
    assert len(circles) == sum(layer.rho is not None for s in found.sides for layer in s.layers)
    assert [c.get("r") for c in circles].count("6") == 1
    assert len(drawn.findall(".//{http://www.w3.org/2000/svg}polyline")) == 2


@pytest.mark.parametrize("name", ["mlp", "transformer", "lstm"])
def test_pieces_of_a_graph_compute_what_the_whole_does(name: str) -> None:
    graph = models.reference(name).model.graph
    feeds, _ = decidable_inputs(graph)
    values = inner_values(graph, feeds)
    for kept in ({0}, {len(graph.calls) - 1}, set(range(1, len(graph.calls)))):
        piece, fed = cut(graph, kept, values)
        onnx.checker.check_model(piece.proto())
        inside = inner_values(piece, fed)
        for n in piece.outputs:
            np.testing.assert_allclose(inside[n], values[n], rtol=1e-5, atol=1e-6)
    assert exposed(graph, graph.outputs) is graph


@pytest.mark.parametrize("framework", BACKENDS)
def test_a_module_of_a_framework(framework: str, tmp_path: Path) -> None:
    text = {
        "torch": "import torch\nmodel = torch.nn.Linear(3, 2)\nw, b = model.weight.detach().numpy(), model.bias.detach().numpy()\n",
        "tensorflow": (
            "import keras\nmodel = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])\n"
            "w, b = (v.numpy() for v in model.weights)\nw = w.T\n"
        ),
        "mxnet": (
            "from polymodel_mxnet.compat import mxnet\nmodel = mxnet.gluon.nn.Dense(2, in_units=3)\nmodel.initialize()\n"
            "w, b = (p.data().asnumpy() for p in model.collect_params().values())\n"
        ),
    }[framework]
    path = tmp_path / "named.py"
    path.write_text(text + "import numpy\nnumpy.savez(__file__ + '.npz', w=w, b=b)\n", encoding="utf-8")
    side = named_side(f"{path}:model")
    try:
        with np.load(f"{path}.npz") as stored:
            linear = pm.Model(nn.Linear(3, 2), {"x": pm.TensorSpec(("batch", 3))}, ["y"])
            graph = linear.graph.with_values({"weight": stored["w"], "bias": stored["b"]})
        feeds, _ = decidable_inputs(graph)
        right = GraphSide("right", graph, "oracle", runner("oracle"))
        assert run._compared([side, right], graph, feeds, True, layers=True).passed
        off = graph.with_values({"bias": graph.parameters["bias"] + np.float32(1e-5)})
        wrong = run._compared([side, GraphSide("off", off, "oracle", runner("oracle"))], off, feeds, True, layers=True)
        assert wrong.verdict.startswith(f"{path}:model differs")
    finally:
        side.close()
