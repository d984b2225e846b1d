"""Control flow is written out where it can be seen ahead, and means what the reference evaluator computes."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import parser
from onnx.reference import ReferenceEvaluator

from polymodel.artifact.load import load_onnx
from polymodel.errors import NeedsStaticShape
from polymodel.passes.specialize import specialize

LOOP = """
<ir_version: 10, opset_import: ["" : 23]>
loop (float[2] x, int64 n) => (float[2] y, float[m, 2] all) {
   yes = Constant <value = bool {1}> ()
   y, all = Loop (n, yes, x) <body = step (int64 i, bool go, float[2] h) => (bool on, float[2] next, float[2] seen) {
      on = Identity (go)
      f = Cast <to = 1> (i)
      g = Add (h, f)
      next = Mul (g, x)
      seen = Identity (next)
   }>
}
"""

SCAN = """
<ir_version: 10, opset_import: ["" : 23]>
scan (float[2] h0, float[3, 4] xs) => (float[2] h, float[2, 4] ys) {
   h, ys = Scan <num_scan_inputs = 1, scan_input_axes = [1], scan_output_axes = [1], scan_input_directions = [1],
                 scan_output_directions = [1],
      body = step (float[2] a, float[3] x) => (float[2] b, float[2] out) {
         s = ReduceSum <keepdims = 0> (x)
         b = Add (a, s)
         out = Mul (b, b)
      }> (h0, xs)
}
"""

NESTED = """
<ir_version: 10, opset_import: ["" : 23]>
nested (float[2] x, bool c) => (float[2] y) {
   three = Constant <value = int64 {3}> ()
   yes = Constant <value = bool {1}> ()
   y = Loop (three, yes, x) <body = step (int64 i, bool go, float[2] h) => (bool on, float[2] next) {
      on = Identity (go)
      next = If (c) <then_branch = yes_ () => (float[2] t) { t = Mul (h, x) }, else_branch = no_ () => (float[2] e) { e = Add (h, x) }>
   }>
}
"""


def evaluate(text: str, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    if "Scan" in text:  # the reference evaluator knows one direction only
        sums = feeds["h0"][:, None] + np.cumsum(feeds["xs"].sum(0)[::-1])
        return [sums[:, -1], (sums**2)[:, ::-1]]
    return list(ReferenceEvaluator(parser.parse_model(text)).run(None, feeds))


@pytest.mark.parametrize("n", [0, 1, 4])
def test_a_loop_with_a_known_count_becomes_its_iterations(n: int) -> None:
    graph = load_onnx(parser.parse_model(LOOP), trainable="none")
    plan = specialize(graph, graph.outputs, None, {"n": np.asarray(n, np.int64)})
    assert not {"Loop", "If", "Scan"} & {c.op_type for c in plan.nodes}
    assert sum(c.op_type == "Mul" for c in plan.nodes) == n
    assert plan.specs["all"].shape == (n, 2)


def test_an_unknown_count_is_asked_for() -> None:
    graph = load_onnx(parser.parse_model(LOOP), trainable="none")
    with pytest.raises(NeedsStaticShape, match="how often the Loop"):
        specialize(graph, graph.outputs)


def test_a_decision_takes_the_place_of_an_unknown_count() -> None:
    graph = load_onnx(parser.parse_model(LOOP), trainable="none")
    plan = specialize(graph, graph.outputs, None, None, {"y": 3})
    assert sum(c.op_type == "Mul" for c in plan.nodes) == 3
    assert "n" not in plan.inputs


@pytest.mark.parametrize("backend", ["torch", "tensorflow", "mxnet"])
@pytest.mark.parametrize("case", ["loop", "scan", "then", "else"])
def test_values_and_derivatives(backend: str, case: str) -> None:
    import polymodel as pm

    rng = np.random.default_rng(0)
    text = {"loop": LOOP, "scan": SCAN}.get(case, NESTED)
    choices: dict[str, dict[str, np.ndarray]] = {
        "loop": {"x": rng.standard_normal(2), "n": np.asarray(3, np.int64)},
        "scan": {"h0": rng.standard_normal(2), "xs": rng.standard_normal((3, 4))},
    }
    feeds = choices.get(case, {"x": rng.standard_normal(2), "c": np.asarray(case == "then")})
    text = text.replace("float[", "double[").replace("<to = 1>", "<to = 11>")
    program = pm.compile(load_onnx(parser.parse_model(text), trainable="none"), backend, "cpu")
    expected = evaluate(text, feeds)
    found = program.predict(feeds)
    for name, want in zip(program.graph.outputs, expected, strict=True):
        np.testing.assert_allclose(found[name], want, rtol=1e-12)
    cotangents = {n: rng.standard_normal(np.shape(w)) for n, w in zip(program.graph.outputs, expected, strict=True)}
    gradients = program.gradients(feeds, cotangents)
    for name, array in feeds.items():
        if array.dtype.kind != "f":
            continue
        direction = rng.standard_normal(array.shape)
        ends = [evaluate(text, {**feeds, name: array + s * 1e-6 * direction}) for s in (1, -1)]
        pairs = zip(cotangents.values(), *ends, strict=True)
        slope = sum(float(np.sum(c * (a - b))) for c, a, b in pairs) / 2e-6
        assert float(np.sum(gradients[name] * direction)) == pytest.approx(slope, rel=1e-6)
    assert not program.host_operators


def test_a_body_reads_values_of_every_graph_around_it() -> None:
    graph = load_onnx(parser.parse_model(NESTED), trainable="none")
    plan = specialize(graph, graph.outputs, None, {"c": np.asarray(True)})
    assert [c.op_type for c in plan.nodes if c.op_type != "Identity"] == ["Mul"] * 3
