"""The judge: correct runs pass, small mistakes do not."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from rich.console import Console

import polymodel as pm
from polymodel import nn, surgery
from polymodel.artifact import runtime
from polymodel.artifact.compare import LIMIT, compare
from polymodel.artifact.export import export, to_proto
from polymodel.artifact.floor import Meaning, meaning, reference_session, run_reference
from polymodel.artifact.inputs import try_inputs
from polymodel.artifact.load import load_onnx
from polymodel.artifact.verify import judge, judge_runtime, verify
from polymodel.errors import ArtifactError, UnknownBackend
from polymodel.graph import Graph


def network() -> Graph:
    module = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 5)
    )
    graph = pm.Model(module, {"x": pm.TensorSpec(("batch", 1, 8, 8))}, ["logits"]).graph
    rng = np.random.default_rng(0)
    values = {**graph.parameters, **graph.buffers}
    return graph.with_values({n: (a + rng.uniform(0, 0.3, a.shape)).astype(a.dtype) for n, a in values.items()})


def float32_run(graph: Graph, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return run_reference(reference_session(graph.proto()), {**feeds, **graph.parameters, **graph.buffers})


def rho(graph: Graph, result: np.ndarray, expected: Meaning) -> float:
    row = compare("test", "logits", result, expected, "float32")
    assert row.rho is not None
    return row.rho


def test_correct_runs_are_a_few_units_from_the_truth() -> None:
    graph = network()
    for size in (1, 3, 16):
        feeds = try_inputs(graph, size)
        result = float32_run(graph, feeds)["logits"]
        assert 0.1 < rho(graph, result, meaning(graph, feeds)["logits"]) < 10


def with_epsilon(graph: Graph, epsilon: float) -> Graph:
    copy = graph.copy()
    for node in copy.model.graph:
        if node.op_type == "BatchNormalization":
            node.attributes["epsilon"] = ir.AttrFloat32("epsilon", epsilon)
    return copy


@pytest.mark.parametrize("mistake", ["epsilon", "weight", "short float", "nan", "swapped", "dtype", "shape"])
def test_mistakes_do_not_pass(mistake: str) -> None:
    graph = network()
    feeds = try_inputs(graph, 4)
    expected = meaning(graph, feeds)["logits"]
    result = float32_run(graph, feeds)["logits"]
    if mistake == "epsilon":
        result = float32_run(with_epsilon(graph, 2e-5), feeds)["logits"]
    elif mistake == "weight":
        weights = graph.parameters["5.weight"].copy()
        weights[0, 0] *= 1.001
        result = float32_run(graph.with_values({"5.weight": weights}), feeds)["logits"]
    elif mistake == "short float":
        result = result.astype(np.float16).astype(np.float32)
    elif mistake == "nan":
        result[2, 1] = np.nan
    elif mistake == "swapped":
        result = result[:, ::-1]
    elif mistake == "dtype":
        result = result.astype(np.float64)
    else:
        result = result[:, :4]
    assert compare("test", "logits", result, expected, "float32").verdict == "fail"


def test_integers_are_exact_except_where_the_floor_decides_nothing() -> None:
    expected = Meaning(np.array([3, 4, 5]), 0.0, np.array([True, True, False]), 0.0)
    assert compare("t", "y", np.array([3, 4, 9]), expected, "int64").verdict == "pass"
    assert compare("t", "y", np.array([3, 5, 5]), expected, "int64").verdict == "fail"


def test_infinities_must_be_where_they_belong() -> None:
    expected = Meaning(np.array([np.inf, 1.0]), 1e-8, np.array([False, True]), 1.0)
    assert compare("t", "y", np.array([np.inf, 1.0], np.float32), expected, "float32").verdict == "pass"
    assert compare("t", "y", np.array([-np.inf, 1.0], np.float32), expected, "float32").verdict == "fail"


def test_everybody_agrees_on_an_artifact(tmp_path: Path) -> None:
    graph = network()
    export(graph, tmp_path / "net.onnx", verify=False)
    found = verify(tmp_path / "net.onnx", backends=["torch"])
    assert [r.runner.split()[0] for r in found.rows] == ["onnxruntime", "onnx", "torch"]
    assert found.passed
    assert all(r.rho is not None and r.rho <= LIMIT for r in found.rows)
    assert json.loads(json.dumps(found.to_dict()))["verdict"] == "pass"
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(found.table())
    console.file.close()
    assert "onnxruntime" in console.export_text()


def test_own_inputs_and_unknown_backends(tmp_path: Path) -> None:
    export(network(), tmp_path / "net.onnx", verify=False)
    x = np.ones((5, 1, 8, 8), np.float32)
    assert verify(tmp_path / "net.onnx", backends=[], inputs={"x": x}).shapes == {"x": (5, 1, 8, 8)}
    with pytest.raises(UnknownBackend, match="'cntk'"):
        verify(tmp_path / "net.onnx", backends=["cntk"])


def test_a_backend_that_lacks_an_operator_is_a_row(tmp_path: Path) -> None:
    body = onnx.helper.make_graph(
        [onnx.helper.make_node("StringNormalizer", ["x"], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info("x", 8, [2])],
        [onnx.helper.make_tensor_value_info("y", 8, [None])],
    )
    model = onnx.helper.make_model(body, opset_imports=[onnx.helper.make_opsetid("", 23)], ir_version=10)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="input 'x' is string: give inputs of your own"):
        verify(tmp_path / "net.onnx", backends=["torch"])


def test_double_precision_is_judged_by_its_own_roundoff() -> None:
    from polymodel.passes.to_dtype import to_dtype

    graph = to_dtype(network(), "float64")
    feeds = try_inputs(graph, 2)
    result = float32_run(graph, feeds)["logits"]
    expected = meaning(graph, feeds)["logits"]
    assert expected.sigma < 1e-13
    rounded = result.astype(np.float32).astype(np.float64)
    assert compare("t", "logits", rounded, expected, "float64").verdict == "fail"


def test_a_stranger_s_file_is_verified_too(tmp_path: Path) -> None:
    model = to_proto(network())
    model.opset_import[0].version = 17
    del model.metadata_props[:]
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    assert load_onnx(tmp_path / "net.onnx").opset == 23
    assert verify(tmp_path / "net.onnx", backends=[]).passed


def gate(shift: float) -> Graph:
    """y = Sigmoid(x + shift), behind an If that is decided by an input."""
    model = onnx.parser.parse_model(
        """
        <ir_version: 8, opset_import: ["" : 17]>
        gate (float[n, 4] x, bool go) => (float[n, 4] y) {
            s = Constant <value_float = SHIFT> ()
            y = If (go) <
                then_branch = yes () => (float[n, 4] a) { b = Add(x, s) a = Sigmoid(b) },
                else_branch = no () => (float[n, 4] c) { c = Identity(x) }
            >
        }
        """.replace("SHIFT", str(shift))
    )
    return load_onnx(model)


def test_branches_are_evaluated_exactly() -> None:
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    found = meaning(gate(-1.0), {"x": x, "go": np.array(True)})["y"]
    np.testing.assert_allclose(found.value, 1 / (1 + np.exp(1.0 - x.astype(np.float64))), rtol=1e-14)
    assert 0 < found.sigma < 1e-7


def test_the_sigmoid_of_onnx_runtime_is_judged_as_what_it_is(tmp_path: Path) -> None:
    graph = gate(-12.0)
    feeds = {"x": np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32), "go": np.array(True)}
    expected = meaning(graph, feeds)
    path = tmp_path / "gate.onnx"
    path.write_bytes(to_proto(graph).SerializeToString())
    opened = runtime.session(path)
    rows = judge_runtime(lambda: runtime.run(opened, feeds), graph, feeds, expected)
    assert [r.verdict for r in rows] == ["pass"]
    assert "Sigmoid" in rows[0].note
    wrong = {"y": np.asarray(expected["y"].value * 1.2 + 1e-5, np.float32)}
    assert judge_runtime(lambda: wrong, graph, feeds, expected)[0].verdict == "fail"
    assert judge("torch", lambda: runtime.run(opened, feeds), graph, feeds, expected)[0].verdict == "fail"


def test_numbers_too_small_for_the_type_may_be_zero() -> None:
    tiny = Meaning(np.array([1e-60]), 1e-67, np.array([True]), 1e-60)
    assert compare("test", "y", np.zeros(1, np.float32), tiny, "float32").verdict == "pass"
    assert compare("test", "y", np.zeros(1, np.float64), tiny, "float64").verdict == "fail"
    exact = Meaning(np.array([0.0]), 0.0, np.array([True]), 0.0)
    assert compare("test", "y", np.full(1, 1e-30, np.float32), exact, "float32").verdict == "fail"


def test_evaluation_holds_few_values_at_a_time() -> None:
    lines = "\n".join(f"v{i + 1} = Relu(v{i})" for i in range(30))
    text = '<ir_version: 8, opset_import: ["" : 17]> deep (float[1, n] v0) => (float[1, n] v30) {' + lines + "}"
    graph = load_onnx(onnx.parser.parse_model(text))
    size = 1 << 18
    tracemalloc.start()
    try:
        meaning(graph, {"v0": np.ones((1, size), np.float32)})
        peak = tracemalloc.get_traced_memory()[1] / (8 * size)
    finally:
        tracemalloc.stop()
    assert peak < 15, f"{peak:.0f} arrays at once"


def test_long_sums_may_be_added_up_one_after_the_other() -> None:
    """Equal weights, as in the light files of the onnx package: partial sums round in one direction for long."""
    n = 20000
    graph = load_onnx(
        onnx.parser.parse_model(
            '<ir_version: 8, opset_import: ["" : 17]> '
            f"sums (float[2, {n}] x, float[{n}, 1] w) => (float[2, 1] y) {{ y = MatMul(x, w) }}"
        )
    )
    x = np.random.default_rng(0).uniform(0.5, 1.5, (2, n)).astype(np.float32)
    feeds = {"x": x, "w": np.full((n, 1), 0.1, np.float32)}
    expected = meaning(graph, feeds)
    straight = np.cumsum(x * np.float32(0.1), axis=1, dtype=np.float32)[:, -1:]
    assert compare("loop", "y", straight, expected["y"], "float32").verdict == "fail"
    (row,) = judge("loop", lambda: {"y": straight}, graph, feeds, expected)
    assert (row.verdict, row.note) == ("pass", "floor with long sums")
    (row,) = judge("wrong", lambda: {"y": straight * np.float32(1.002)}, graph, feeds, expected)
    assert row.verdict == "fail"


def test_a_branch_whose_sizes_show_later_is_the_same_graph() -> None:
    """With x fixed the branches return float[3, 4]; before they returned float[n, 4]."""

    def fixed(shift: float) -> Graph:
        graph = gate(shift).proto()
        graph.graph.node[-1].output[0] = "t"
        graph.graph.node.append(onnx.helper.make_node("ReduceSum", ["t"], ["y"], keepdims=0))
        graph.graph.output[0].type.tensor_type.shape.ClearField("dim")
        del graph.graph.value_info[:]
        return surgery.fix(load_onnx(graph), {"x": np.ones((3, 4), np.float32)})

    again = load_onnx(to_proto(fixed(0.0)), trainable="none")
    assert again.hash == fixed(0.0).hash
    assert again.hash != fixed(1.0).hash


@pytest.mark.parametrize("call", ['Resize <mode = "nearest"> (x, , s)', "Mul (x, ranged)"], ids=["scales", "steps"])
def test_sizes_are_not_rounded_away(call: str) -> None:
    """Floating-point inputs that say how many elements there are stay exact where the floor is measured."""
    graph = load_onnx(onnx.parser.parse_model(f"""<ir_version: 9, opset_import: ["" : 21]>
    g (float[1,1,1,6] x) => (float y) <float[4] s = {{1.0, 1.0, 1.0, 0.5}}, float a = {{0.0}}, float b = {{6.0}}, float c = {{1.0}}>
    {{ ranged = Range(a, b, c) z = {call} y = ReduceSum <keepdims = 0> (z) }}"""))
    found = meaning(graph, {"x": np.arange(1, 7, dtype=np.float32).reshape(1, 1, 1, 6)})["y"]
    assert 0 < found.sigma < 1e-4
