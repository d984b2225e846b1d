"""passes/mixed_precision.py: what is half, what is not, and that nothing is cast twice."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

import polymodel as pm
from polymodel import nn
from polymodel.graph import Graph
from polymodel.passes.mixed_precision import mixed_precision

F = nn.functional


class Net(nn.Module):
    """A residual convolution, attention over its places, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.25)
        self.again, self.scale, self.head = nn.Conv2d(4, 4, 3, padding=1), nn.LayerNorm(4), nn.Linear(4, 3)

    def forward(self, x: Any) -> Any:
        y = F.relu(self.norm(self.conv(x)))
        y = self.drop(self.again(y) + y)
        places = F.permute(F.reshape(y, (0, 4, 36)), (0, 2, 1))
        return self.head(F.mean(F.softmax(self.scale(places), -1), 1))


MODEL = pm.Model(Net(), {"x": pm.TensorSpec(("batch", 2, 6, 6))}, ["y"])


def kinds(graph: Graph) -> dict[str, set[str]]:
    """Element types of what each operator makes first."""
    found: dict[str, set[str]] = {}
    for node in graph.model.graph:
        found.setdefault(node.op_type, set()).add(str(node.outputs[0].dtype))
    return found


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_the_policy(half: str) -> None:
    graph = mixed_precision(MODEL.training_graph("cross_entropy"), half)
    found, word = kinds(graph), half.upper()
    for name in ("Conv", "Gemm", "BatchNormalization", "Relu", "Add", "Reshape", "Transpose"):
        assert found[name] == {word}, name
    for name in ("LayerNormalization", "Softmax", "ReduceMean", "SoftmaxCrossEntropyLoss"):
        assert found[name] == {"FLOAT"}, name
    assert all(a.dtype.name == "float32" for a in (*graph.parameters.values(), *graph.buffers.values()))
    assert {n: s.dtype for n, s in graph.specs.items() if n in ("x", "y", "loss", *graph.updates.values())} == dict.fromkeys(
        ("x", "y", "loss", *graph.updates.values()), "float32"
    )
    casts = Counter((n.inputs[0].name, n.attributes["to"].value) for n in graph.model.graph if n.op_type == "Cast" and n.inputs[0])
    assert set(casts.values()) == {1}
    assert (graph.inputs, graph.outputs, graph.trainable) == (("x", "target"), ("y", "loss"), tuple(MODEL.parameters))


def test_a_graph_without_products_stays() -> None:
    graph = pm.Model(nn.BatchNorm2d(2), {"x": pm.TensorSpec(("batch", 2, 6, 6))}, ["y"]).graph
    assert mixed_precision(graph, "float16") is graph


@pytest.mark.filterwarnings("ignore::polymodel.errors.PrecisionWarning")
def test_what_a_loss_reads_is_float32() -> None:
    """Also where it works on what a product made: in a phase the loss is a path of its own."""
    x = {"x": pm.TensorSpec(("batch", 4))}
    phase = pm.Phase(lambda m, b: pm.losses.apply("bce_with_logits", m.net(b["x"]), 1.0), "net")
    step = pm.TrainStep({"net": pm.Model(nn.Linear(4, 1), x, ["y"])}, {"p": phase}, x, backend="torch", precision="bfloat16")
    training = step.program.first.training
    assert training is not None
    found = kinds(training.graph)
    assert found.pop("Gemm") == {"BFLOAT16"}
    assert {n for n, k in found.items() if "BFLOAT16" in k} == {"Cast"}


def test_branches_read_float32() -> None:
    import onnx
    import onnx.helper as h

    inner = h.make_graph([h.make_node("Exp", ["p"], ["e"])], "a", [], [h.make_tensor_value_info("e", 1, None)])
    other = h.make_graph([h.make_node("Neg", ["p"], ["n"])], "b", [], [h.make_tensor_value_info("n", 1, None)])
    nodes = [h.make_node("MatMul", ["x", "x"], ["p"]), h.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=other)]
    floats = [h.make_tensor_value_info("x", 1, (3, 3))]
    body = h.make_graph(
        nodes, "g", [*floats, h.make_tensor_value_info("c", onnx.TensorProto.BOOL, ())], [h.make_tensor_value_info("y", 1, (3, 3))]
    )
    graph = mixed_precision(pm.load_onnx(h.make_model(body, opset_imports=[h.make_opsetid("", 23)], ir_version=10)), "float16")
    branch = next(n for n in graph.model.graph if n.op_type == "If").attributes["then_branch"].as_graph()
    read = branch[0].inputs[0]
    assert read is not None
    assert (str(read.name), str(read.dtype)) == ("p.float32", "FLOAT")
