"""Cutting somebody's file, new heads and further layers behind its tensors, and what is trained then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import polymodel as pm
from polymodel import nn
from polymodel.errors import GraphError

BACKENDS = ("torch", "tensorflow", "mxnet")


def network(batch: Any = 1, opset: int = 12) -> onnx.ModelProto:
    """Convolution, normalization, pooling, dense layer, softmax: as exporters write a classifier for one image."""
    rng = np.random.default_rng(0)

    def stored(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array((rng.standard_normal(shape) * 0.4).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["image", "conv.w", "conv.b"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"], "norm"),
        helper.make_node("Relu", ["n"], ["r"], "relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], "pool"),
        helper.make_node("Reshape", ["p", "shape"], ["f"], "flat"),
        helper.make_node("MatMul", ["f", "fc.w"], ["h"], "fc"),
        helper.make_node("Add", ["h", "fc.b"], ["s"], "bias"),
        helper.make_node("Softmax", ["s"], ["prob"], "soft", axis=1),
    ]
    ones, zeros = np.ones(6, np.float32), np.zeros(6, np.float32)
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("image", 1, [batch, 2, 6, 6])],
        [helper.make_tensor_value_info("prob", 1, [batch, 5])],
        [
            stored("conv.w", 6, 2, 3, 3),
            stored("conv.b", 6),
            *(numpy_helper.from_array(a, n) for n, a in (("g", ones), ("b", zeros), ("m", zeros), ("v", ones))),
            numpy_helper.from_array(np.array([1, 6]), "shape"),
            stored("fc.w", 6, 5),
            stored("fc.b", 5),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)


def data(count: int = 96) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, count)
    x = rng.standard_normal((count, 2, 6, 6)) + 1.5 * np.eye(3)[y][:, :2, None, None]
    return x.astype(np.float32), y


@pytest.mark.parametrize("opset", [9, 12, 13, 20])
def test_a_fixed_batch_becomes_free(opset: int) -> None:
    graph = pm.Model.from_onnx(network(opset=opset)).graph
    assert graph.specs["image"].shape == ("batch", 2, 6, 6)
    assert graph.specs["prob"].shape == ("batch", 5)
    fixed = pm.Model.from_onnx(network(opset=opset), dynamic_batch=False).graph
    assert fixed.specs["image"].shape == (1, 2, 6, 6)
    x = data(3)[0]
    got = pm.compile(graph, "torch").predict({"image": x})["prob"]
    one_by_one = pm.compile(fixed, "torch")
    want = np.concatenate([one_by_one.predict({"image": x[i : i + 1]})["prob"] for i in range(3)])
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def mixes(node: onnx.NodeProto, stored: dict[str, np.ndarray] | None = None) -> onnx.ModelProto:
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", 1, [1, 4])],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(a, n) for n, a in (stored or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize(
    "model",
    [
        mixes(helper.make_node("Softmax", ["x"], ["y"], axis=0)),
        mixes(helper.make_node("ReduceMean", ["x", "axes"], ["y"]), {"axes": np.array([0])}),
        mixes(helper.make_node("Reshape", ["x", "to"], ["y"]), {"to": np.array([2, 2])}),
        mixes(helper.make_node("Transpose", ["x"], ["y"])),
        mixes(helper.make_node("Concat", ["x", "z"], ["y"], axis=0), {"z": np.ones((1, 4), np.float32)}),
        mixes(helper.make_node("CumSum", ["x", "axis"], ["y"]), {"axis": np.array(0)}),
    ],
    ids=lambda m: str(m.graph.node[0].op_type),
)
def test_a_batch_that_samples_share_stays_fixed(model: onnx.ModelProto) -> None:
    graph = pm.Model.from_onnx(model).graph
    assert graph.specs["x"].shape == (1, 4) or graph.specs["y"].shape == (4, "batch")


def test_the_report_says_why() -> None:
    model = pm.Model.from_onnx(network(), trainable=["fc.*", "conv.b"])
    rows = {r.name: (r.role, r.reason) for r in model.trainable_report.rows}
    assert rows["fc.w"] == ("parameter", "matches 'fc.*': input B of MatMul 'fc'")
    assert rows["conv.w"][0] == "frozen"
    assert "input W of Conv 'conv'" in rows["conv.w"][1]
    assert rows["m"] == ("buffer", "running mean of BatchNormalization 'norm': a training step updates it")
    shape = next(r for r in model.trainable_report.rows if r.dtype == "int64")
    assert (shape.role, shape.shape) == ("constant", (2,))
    assert "fc.w" in str(model.trainable_report)
    model.freeze("fc.w")
    assert {r.name: r.role for r in model.trainable_report.rows}["fc.w"] == "frozen"


def test_patterns_that_match_nothing_and_constants_that_match() -> None:
    with pytest.raises(GraphError, match=r"trainable='layer4.*' matches no floating-point tensor; there are conv\.w"):
        pm.Model.from_onnx(network(), trainable="layer4.*")
    scale = mixes(helper.make_node("Mul", ["x", "k"], ["y"]), {"k": np.array(2.0, np.float32)})
    assert pm.Model.from_onnx(scale).parameters == ()
    assert pm.Model.from_onnx(scale, trainable="k").parameters == ("k",)
    assert pm.Model.from_onnx(network(), trainable="none").graph.trainable == ()


def test_cut_drops_what_only_the_old_outputs_needed() -> None:
    graph = pm.surgery.cut(pm.load_onnx(network()), ["f"])
    assert graph.outputs == ("f",)
    assert list(graph.parameters) == ["conv.w", "conv.b", "g", "b"]
    assert [n.op_type for n in graph.model.graph][-1] == "Reshape"
    with pytest.raises(GraphError, match="makes no tensor 'flat'; close are"):
        pm.surgery.cut(graph, ["flat"])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("tensor", "kept"), [("r", 4), ("f", 4), ("s", 6)])
def test_a_new_head_is_trained(backend: str, tensor: str, kept: int, tmp_path: Path) -> None:
    model = pm.Model.from_onnx(network(), replace_head=tensor, head=3, trainable="head.*", seed=3)
    assert model.graph.outputs == ("logits",)
    assert len(model.parameters) == kept + 2
    assert model.graph.trainable == ("head.weight", "head.bias")
    x, y = data()
    trainer = pm.Trainer(model, "cross_entropy", pm.optim.Adam(0.05), ["accuracy"], backend=backend)
    before, start = trainer.evaluate((x, y)), model.values
    trainer.fit((x, y), epochs=8, batch_size=32, progress=False)
    assert trainer.evaluate((x, y))["loss"] < 0.8 * before["loss"]
    assert np.array_equal(model.values["conv.w"], start["conv.w"])
    trainer.export(tmp_path / "tuned.onnx")
    again = pm.load_onnx(tmp_path / "tuned.onnx")
    assert again.outputs == ("logits",)
    assert again.frozen == model.frozen


def test_heads_by_rank() -> None:
    def head(model: onnx.ModelProto, tensor: str) -> list[str]:
        graph = pm.Model.from_onnx(model, replace_head=tensor, head=2).graph
        assert graph.specs["logits"].shape == ("batch", 2)
        return [n.op_type for n in graph.model.graph][-3:]

    assert head(network(), "r") == ["GlobalAveragePool", "Flatten", "Gemm"]
    assert head(network(), "f")[-2:] == ["Reshape", "Gemm"]
    tokens = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["t"]), helper.make_node("Relu", ["t"], ["y"])],
        "tokens",
        [helper.make_tensor_value_info("x", 1, ["batch", 7, 4])],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(np.ones((4, 6), np.float32), "w")],
    )
    assert head(helper.make_model(tokens, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), "y") == [
        "Relu",
        "ReduceMean",
        "Gemm",
    ]


def test_a_module_behind_any_tensor_and_a_loss_on_any_output() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(6 * 36, 4), nn.BatchNorm1d(4))
    model = pm.Model.from_onnx(network("batch"), attach={"aux": ("r", module)}, outputs=["s"])
    assert model.graph.outputs == ("s", "aux")
    assert {"aux.2.weight", "aux.3.running_mean"} <= set(model.values)
    x = data(8)[0]
    trainer = pm.Trainer(model, "mse", pm.optim.SGD(0.1), output="aux", backend="torch")
    assert len(trainer.program.training.graph.streams) == 1  # type: ignore[union-attr]
    losses = [trainer.train_on_batch(x, np.ones((8, 4), np.float32))["loss"] for _ in range(10)]
    assert losses[-1] < losses[0]
    assert model.graph.reasons["aux.2.weight"] == "new layer behind 'r'"
    with pytest.raises(GraphError, match="no output 'extra' for the loss; its outputs are s, aux"):
        pm.Trainer(model, "mse", output="extra", backend="torch")


def test_impossible_requests() -> None:
    for more, why in (
        ({"replace_head": "f"}, "give both"),
        ({"replace_head": "f", "head": 0}, "classes of 1 or more"),
        ({"replace_head": "image", "head": 3}, "is an input"),
        ({"replace_head": "f", "head": nn.Linear(7, 2)}, "7"),
        ({"outputs": ["q"]}, "makes no tensor 'q'"),
    ):
        with pytest.raises(GraphError, match=why):
            pm.Model.from_onnx(network(), **more)
