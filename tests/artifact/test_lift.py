"""Files of all ages: the official suite of the onnx package, and what older exporters wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases

from polymodel.artifact.floor import reference_session, run_reference
from polymodel.artifact.load import load_onnx
from polymodel.errors import ArtifactError
from polymodel.registry import compile

SUITE = Path(onnx.__file__).parent / "backend/test/data"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the cases, which divide by zero on purpose
def test_official_node_cases() -> None:
    """Every second case loads."""
    loaded, refused = 0, {}
    for case in collect_testcases(None)[::2]:
        assert case.model is not None
        try:
            load_onnx(case.model)
            loaded += 1
        except ArtifactError as error:
            refused[case.name] = str(error)
    assert loaded >= 900, loaded
    assert not refused, refused


@pytest.mark.parametrize("kind", ["pytorch-converted", "pytorch-operator", "simple"])
def test_official_files(kind: str) -> None:
    paths = sorted(SUITE.glob(f"{kind}/*/model.onnx"))
    assert len(paths) >= 20
    for path in paths:
        load_onnx(path)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:overflow:RuntimeWarning")
def test_lifted_files_keep_their_meaning() -> None:
    """Opset 6 files of PyTorch, with the inputs and outputs that came with them."""
    compared = 0
    for path in sorted(SUITE.glob("pytorch-converted/*/model.onnx"))[::3]:
        graph = load_onnx(path)
        arrays = [read(path.parent / f"test_data_set_0/input_{i}.pb") for i in range(len(graph.inputs))]
        feeds = {**dict(zip(graph.inputs, arrays, strict=True)), **graph.parameters, **graph.buffers}
        results = run_reference(reference_session(graph.proto()), feeds)
        for i, name in enumerate(graph.outputs):
            expected = read(path.parent / f"test_data_set_0/output_{i}.pb")
            np.testing.assert_allclose(results[name], expected, rtol=1e-3, atol=1e-6, err_msg=str(path))
            compared += 1
    assert compared >= 20


def read(path: Path) -> np.ndarray:
    return numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(
    ("op_type", "opset", "scales"),
    [
        ("Upsample", 7, [1.0, 1.0, 2.0, 3.0]),
        ("Upsample", 9, [1.0, 1.0, 2.5, 1.5]),
        ("Resize", 10, [1.0, 1.0, 2.5, 3.0]),
        ("Resize", 10, [1.0, 1.0, 0.6, 0.7]),
    ],
)
def test_older_resizing_keeps_its_meaning(op_type: str, opset: int, mode: str, scales: list[float]) -> None:
    kinds: dict[str, Any] = {"scales": scales} if opset < 9 else {}
    node = helper.make_node(op_type, ["x"] if kinds else ["x", "scales"], ["y"], mode=mode, **kinds)
    stored = [] if kinds else [numpy_helper.from_array(np.array(scales, np.float32), "scales")]
    x = helper.make_tensor_value_info("x", 1, [1, 2, 5, 4])
    y = helper.make_tensor_value_info("y", 1, [1, 2, int(5 * np.float32(scales[2])), int(4 * np.float32(scales[3]))])
    graph = helper.make_graph([node], "old", [x], [y], stored)
    old = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=4)
    feeds = {"x": np.random.default_rng(0).standard_normal((1, 2, 5, 4)).astype(np.float32)}
    lifted = load_onnx(old, trainable="none")
    known = {**feeds, **lifted.buffers}
    got = run_reference(reference_session(lifted.proto()), known)["y"]
    session = onnxruntime.InferenceSession(old.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(got, session.run(None, feeds)[0], rtol=1e-5, atol=1e-6)


def test_newer_opsets_stay() -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", 1, ["n", None, -1])],
        [helper.make_tensor_value_info("y", 1, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=12)
    loaded = load_onnx(model)
    assert loaded.opset == 25
    assert loaded.specs["x"].shape == ("n", "x_1", "x_2")
    assert loaded.specs["y"].rank == 3


def test_functions_are_written_out() -> None:
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid("own", 1)]
    body = [helper.make_node("MatMul", ["a", "b"], ["c"]), helper.make_node("Relu", ["c"], ["d"])]
    layer = helper.make_function("own", "Layer", ["a", "b"], ["d"], body, opsets)
    weight = numpy_helper.from_array(np.ones((3, 3), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Layer", [a, "w"], [b], domain="own") for a, b in (("x", "h"), ("h", "y"))],
        "g",
        [helper.make_tensor_value_info("x", 1, ["n", 3])],
        [helper.make_tensor_value_info("y", 1, ["n", 3])],
        [weight],
    )
    loaded = load_onnx(helper.make_model(graph, opset_imports=opsets, functions=[layer], ir_version=10))
    assert [n.op_type for n in loaded.model.graph] == ["MatMul", "Relu"] * 2
    assert list(loaded.parameters) == ["w"]


def test_several_inputs_and_outputs_keep_their_order() -> None:
    names = ["b", "a", "c"]
    graph = helper.make_graph(
        [helper.make_node("Sum", names, ["z"]), helper.make_node("Neg", ["z"], ["y"])],
        "g",
        [helper.make_tensor_value_info(n, 1, ["n"]) for n in names],
        [helper.make_tensor_value_info(n, 1, ["n"]) for n in ("z", "y")],
    )
    loaded = load_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9))
    assert (loaded.inputs, loaded.outputs) == (("b", "a", "c"), ("z", "y"))

@pytest.mark.parametrize("rank", [3, 4, 5])
def test_old_slopes_belong_to_channels(rank: int) -> None:
    """PRelu of opset 6 has one slope for each channel, whatever comes behind the channels."""
    shape = [2, 3, 4, 5, 6][:rank]
    node = helper.make_node("PRelu", ["x", "slope"], ["y"])
    values = [helper.make_tensor_value_info(n, 1, s) for n, s in (("x", shape), ("slope", [3]))]
    body = helper.make_graph([node], "old", values, [helper.make_tensor_value_info("y", 1, shape)])
    graph = load_onnx(helper.make_model(body, opset_imports=[helper.make_opsetid("", 6)], ir_version=3))
    rng = np.random.default_rng(0)
    x, slope = rng.standard_normal(shape).astype(np.float32), rng.standard_normal(3).astype(np.float32)
    (y,) = run_reference(reference_session(graph.proto()), {"x": x, "slope": slope}).values()
    np.testing.assert_allclose(y, np.where(x < 0, x * slope.reshape(3, *[1] * (rank - 2)), x), rtol=1e-6)


def test_a_scan_of_opset_8_runs_over_its_batch() -> None:
    text = """
    <ir_version: 3, opset_import: ["" : 8]>
    sums (float[2, 2] h, float[2, 3, 2] x) => (float[2, 2] y, float[2, 3, 2] z) {
       y, z = Scan <num_scan_inputs = 1, directions = [1],
          body = one (float[2] a, float[2] b) => (float[2] c, float[2] d) { c = Add (a, b) d = Identity (c) }> ("", h, x)
    }
    """
    rng = np.random.default_rng(0)
    h, x = rng.standard_normal((2, 2)).astype(np.float32), rng.standard_normal((2, 3, 2)).astype(np.float32)
    program = compile(load_onnx(onnx.parser.parse_model(text)), "torch", "cpu")
    found = program.predict({"h": h, "x": x})
    sums = h[:, None] + np.cumsum(x[:, ::-1], 1)
    np.testing.assert_allclose(found["y"], sums[:, -1], rtol=1e-6)
    np.testing.assert_allclose(found["z"], sums, rtol=1e-6)
