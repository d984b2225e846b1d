"""Operators outside the standard: refused by name, or run and trained by rules of the user's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import polymodel as pm
from polymodel import nn
from polymodel.errors import ArtifactError, ConfigError, ShapeError, Unsupported
from polymodel.plan import Node

BACKENDS = ("torch", "tensorflow", "mxnet")
DOMAIN = "com.acme"


def model(opset: int = 17, dtype: int = onnx.TensorProto.FLOAT, version: int = 1) -> onnx.ModelProto:
    """scores = Swirl(x, gain; angle=0.5) W, where Swirl(x, g) = g x cos(angle x)."""
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    rng = np.random.default_rng(0)
    stored = {"gain": rng.standard_normal(3) + 1.0, "w": rng.standard_normal((3, 2))}
    graph = helper.make_graph(
        [
            helper.make_node("Swirl", ["x", "gain"], ["s"], "swirl", domain=DOMAIN, angle=0.5),
            helper.make_node("MatMul", ["s", "w"], ["scores"], "dense"),
        ],
        "custom",
        [helper.make_tensor_value_info("x", dtype, ["batch", 3])],
        [helper.make_tensor_value_info("scores", dtype, ["batch", 2])],
        [numpy_helper.from_array(a.astype(kind), n) for n, a in stored.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(DOMAIN, version)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def meaning(x: np.ndarray, gain: np.ndarray, angle: float) -> np.ndarray:
    return np.asarray(gain * x * np.cos(angle * x))


def _torch(node: Node, x: Any, gain: Any) -> Any:
    import torch

    return gain * x * torch.cos(x * node.attr("angle"))


def _tensorflow(node: Node, x: Any, gain: Any) -> Any:
    import tensorflow as tf

    return gain * x * tf.cos(x * node.attr("angle"))


def _mxnet(node: Node, x: Any, gain: Any) -> Any:
    from polymodel_mxnet.symbols import op

    return op("_npi_multiply", gain, op("_npi_multiply", x, op("_npi_cos", x * node.attr("angle"))))


NATIVE = {"torch": _torch, "tensorflow": _tensorflow, "mxnet": _mxnet}


def _body(b: Any, node: Node, x: str, gain: str) -> str:
    angle = b.constant(node.attr("angle"), node.dtype())
    return str(b.call("Mul", gain, b.call("Mul", x, b.call("Cos", b.call("Mul", x, angle)))))


@pytest.fixture(params=["native", "body"])
def rules(request: pytest.FixtureRequest) -> Iterator[str]:
    """Rules for Swirl, for each backend or once for all."""
    if request.param == "body":
        pm.rule(DOMAIN, "Swirl", reference=meaning)(_body)
    else:
        for name, function in NATIVE.items():
            pm.rule(DOMAIN, "Swirl", backend=name, since=1, reference=meaning)(function)
    yield request.param
    pm.custom.forget(DOMAIN, "Swirl")


@pytest.mark.parametrize("backend", BACKENDS)
def test_values_and_gradients(rules: str, backend: str) -> None:
    graph = pm.load_onnx(model(dtype=onnx.TensorProto.DOUBLE))
    program = pm.compile(graph, backend)
    rng = np.random.default_rng(1)
    x, v = rng.standard_normal((4, 3)), rng.standard_normal((4, 2))
    gain, w = graph.parameters["gain"], graph.parameters["w"]
    np.testing.assert_allclose(program.predict({"x": x})["scores"], meaning(x, gain, 0.5) @ w, rtol=1e-12)
    found = program.gradients({"x": x}, {"scores": v})

    def value(x: np.ndarray, gain: np.ndarray) -> float:
        return float(np.sum(v * (meaning(x, gain, 0.5) @ w)))

    for name, array in (("x", x), ("gain", gain)):
        numeric = np.empty_like(array)
        for i in np.ndindex(array.shape):
            step = np.zeros_like(array)
            step[i] = 1e-6
            up, down = ((value(x + s, gain) if name == "x" else value(x, gain + s)) for s in (step, -step))
            numeric[i] = (up - down) / 2e-6
        np.testing.assert_allclose(found[name], numeric, rtol=1e-7, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_file_is_trained_and_written_again(rules: str, backend: str, tmp_path: Path) -> None:
    tuned = pm.Model.from_onnx(model())
    assert set(tuned.parameters) == {"gain", "w"}
    assert "of domain com.acme" in next(r.reason for r in tuned.trainable_report.rows if r.name == "gain")
    rng = np.random.default_rng(2)
    x = rng.standard_normal((64, 3)).astype(np.float32)
    y = (x.sum(1) > 0).astype(np.int64)
    trainer = pm.Trainer(tuned, "cross_entropy", pm.optim.Adam(0.05), backend=backend)
    start, gain = trainer.evaluate((x, y))["loss"], tuned.values["gain"].copy()
    trainer.fit((x, y), epochs=10, batch_size=16, progress=False)
    assert trainer.evaluate((x, y))["loss"] < 0.8 * start
    trainer.export(tmp_path / "tuned.onnx")
    again = pm.load_onnx(tmp_path / "tuned.onnx")
    assert again.trainable == ("gain", "w")
    assert not np.array_equal(again.parameters["gain"], gain)
    assert again.hash == tuned.graph.hash


def test_a_head_behind_a_custom_operator(rules: str) -> None:
    tuned = pm.Model.from_onnx(model(), replace_head="s", head=nn.Linear(3, 4), trainable="head.*")
    assert tuned.graph.specs["logits"].shape == ("batch", 4)


def test_all_unknown_operators_are_named_at_once() -> None:
    file = model()
    file.graph.node.add().CopyFrom(helper.make_node("FusedGemm", ["x", "w"], ["z"], "fused", domain="com.microsoft"))
    with pytest.raises(ArtifactError, match=r"2 operator\(s\) .*com\.acme::Swirl.*com\.microsoft::FusedGemm.*pm\.rule"):
        pm.load_onnx(file)


def test_a_backend_without_a_rule_says_so() -> None:
    pm.rule(DOMAIN, "Swirl", backend="torch")(_torch)
    try:
        graph = pm.load_onnx(model())
        with pytest.raises(Unsupported, match=r"'tensorflow' has no rule for com\.acme::Swirl"):
            pm.compile(graph, "tensorflow").predict({"x": np.ones((1, 3), np.float32)})
        with pytest.raises(pm.errors.VerificationError, match="not be verified"):
            pm.export(graph, "never.onnx")
        with pytest.raises(ConfigError, match=r"two rules for com\.acme::Swirl since 1"):
            pm.rule(DOMAIN, "Swirl", backend="torch")(_torch)
    finally:
        pm.custom.forget(DOMAIN, "Swirl")
    with pytest.raises(ArtifactError, match="Swirl"):
        pm.load_onnx(model())


def test_types_versions_and_defaults() -> None:
    def halves(node: Node, x: pm.TensorSpec, *others: Any) -> list[pm.TensorSpec]:
        return [pm.TensorSpec((*x.shape[:-1], node.attr("parts")), "float32")] * 2

    def split(b: Any, node: Node, x: str) -> tuple[str, ...]:
        return tuple(b.calls("Split", x, outputs=2, axis=-1, num_outputs=2))

    pm.rule(DOMAIN, "Halves", since=2, infer=halves, defaults={"parts": 3})(split)
    try:
        graph = helper.make_graph(
            [helper.make_node("Halves", ["x"], ["a", "b"], domain=DOMAIN), helper.make_node("Relu", ["b"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", 1, ["n", 6])],
            [helper.make_tensor_value_info("y", 1, ["n", 3])],
        )
        for version, loads in ((1, False), (2, True), (5, True)):
            opsets = [helper.make_opsetid("", 20), helper.make_opsetid(DOMAIN, version)]
            file = helper.make_model(graph, opset_imports=opsets, ir_version=9)
            if not loads:
                with pytest.raises(ArtifactError, match="Halves"):
                    pm.load_onnx(file)
                continue
            x = np.arange(-6, 6, dtype=np.float32).reshape(2, 6)
            got = pm.compile(pm.load_onnx(file), "torch").predict({"x": x})["y"]
            np.testing.assert_array_equal(got, np.maximum(x[:, 3:], 0))
    finally:
        pm.custom.forget(DOMAIN, "Halves")


def test_what_infer_returns_is_checked() -> None:
    pm.rule(DOMAIN, "Swirl", infer=lambda node, *inputs: [])(_body)
    try:
        with pytest.raises((ShapeError, ArtifactError), match="expected a TensorSpec for each of 1 outputs"):
            pm.compile(pm.load_onnx(model()), "torch").predict({"x": np.ones((1, 3), np.float32)})
    finally:
        pm.custom.forget(DOMAIN, "Swirl")


def test_the_standards_domains_are_taken() -> None:
    with pytest.raises(ConfigError, match="belongs to the standard"):
        pm.rule("", "Swirl")
