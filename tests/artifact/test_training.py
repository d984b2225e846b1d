"""Artifacts and training: what a backend trained, and what somebody else's file can be trained to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import polymodel as pm
from polymodel import models
from polymodel.artifact.load import load_onnx
from polymodel.artifact.runtime import run, session

BACKENDS = ("torch", "tensorflow", "mxnet")


@pytest.mark.parametrize("name", ["lenet", "transformer"])
def test_the_backends_export_one_graph(name: str, tmp_path: Path) -> None:
    files: list[onnx.ModelProto] = []
    for backend in BACKENDS:
        example = models.reference(name)
        trainer = pm.Trainer(example.model, "cross_entropy", pm.optim.SGD(0.01, momentum=0.9), backend=backend)
        for step in range(2):
            x, y = example.make_batch(4, seed=step)
            trainer.train_on_batch(x, y)
        trainer.export(tmp_path / f"{backend}.onnx")
        files.append(onnx.load(tmp_path / f"{backend}.onnx"))
    trained = [{t.name: t.raw_data for t in f.graph.initializer} for f in files]
    start = models.reference(name).model.graph.parameters
    assert all(trained[0][n] != a.tobytes() for n, a in start.items()), "training changed nothing"
    facts = [{p.key: p.value for p in f.metadata_props} for f in files]
    assert [f["polymodel.backend"] for f in facts] == list(BACKENDS)
    assert len({f["polymodel.graph_hash"] for f in facts}) == 1
    for file in files:
        del file.metadata_props[:]
        for tensor in file.graph.initializer:
            if tensor.name in start:
                tensor.ClearField("raw_data")
    assert files[0] == files[1] == files[2]


def foreign_classifier() -> onnx.ModelProto:
    """Convolution, normalization, dense layer: what an older exporter writes for inference."""
    rng = np.random.default_rng(0)

    def tensor(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array((rng.standard_normal(shape) * 0.3).astype(np.float32), name)

    ones, zeros = np.ones(4, np.float32), np.zeros(4, np.float32)
    stored = [
        tensor("conv_w", 4, 1, 3, 3),
        *(numpy_helper.from_array(a, n) for n, a in (("g", ones), ("b", zeros), ("m", zeros), ("v", ones))),
        tensor("fc_w", 64, 2),
        tensor("fc_b", 2),
    ]
    nodes = [
        helper.make_node("Conv", ["image", "conv_w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("MatMul", ["f", "fc_w"], ["h"]),
        helper.make_node("Add", ["h", "fc_b"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("image", 1, ["N", 1, 4, 4])],
        [helper.make_tensor_value_info("scores", 1, ["N", 2])],
        stored,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_foreign_file_is_trained_and_written_again(backend: str, tmp_path: Path) -> None:
    model = pm.Model.from_graph(load_onnx(foreign_classifier()))
    assert model.parameters == ("conv_w", "g", "b", "fc_w", "fc_b")
    rng = np.random.default_rng(1)
    x = rng.standard_normal((256, 1, 4, 4), dtype=np.float32)
    y = (x.mean((1, 2, 3)) > 0).astype(np.int64)
    trainer = pm.Trainer(model, "cross_entropy", pm.optim.Adam(1e-2), metrics=["accuracy"], backend=backend)
    before = trainer.evaluate((x, y))["accuracy"]
    trainer.fit((x, y), epochs=15, batch_size=32)
    after = trainer.evaluate((x, y))["accuracy"]
    assert after > max(0.9, before)
    trainer.export(tmp_path / "trained.onnx")
    scores = run(session(tmp_path / "trained.onnx"), {"image": x})["scores"]
    assert np.mean(scores.argmax(1) == y) == pytest.approx(after)
    assert not np.array_equal(load_onnx(tmp_path / "trained.onnx").buffers["m"], np.zeros(4))
