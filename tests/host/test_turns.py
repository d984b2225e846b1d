"""Graphs that no single program can hold: sequences, strings, sizes and loops that data decides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, parser

import polymodel as pm
from polymodel.errors import Unsupported
from polymodel.program import Program

BACKENDS = ["torch", "tensorflow", "mxnet"]

WHILE = """
<ir_version: 10, opset_import: ["" : 23]>
halve (double[3] x, double[3] w) => (double[3] y) {
   yes = Constant <value = bool {1}> ()
   y = Loop ("", yes, x) <body = step (int64 i, bool go, double[3] h) => (bool on, double[3] next) {
      half = Constant <value = double {0.5}> ()
      one = Constant <value = double {1.0}> ()
      g = Mul (h, w)
      next = Mul (g, half)
      size = ReduceSum <keepdims = 0> (next)
      on = Greater (size, one)
   }>
}
"""

CHOICE = """
<ir_version: 10, opset_import: ["" : 23]>
choice (float[3] x) => (float[3] y) {
   s = ReduceSum <keepdims = 0> (x)
   zero = Constant <value = float {0.0}> ()
   c = Greater (s, zero)
   y = If (c) <then_branch = up () => (float[3] t) { t = Mul (x, x) }, else_branch = down () => (float[3] e) { e = Neg (x) }>
}
"""

PIECES = """
<ir_version: 10, opset_import: ["" : 23]>
pieces (float[4] x) => (float[2] y, int64 n) {
   two = Constant <value = int64 {2}> ()
   parts = SplitToSequence (x, two)
   n = SequenceLength (parts)
   zero = Constant <value = int64 {0}> ()
   first = SequenceAt (parts, zero)
   y = Mul (first, first)
}
"""

FOUND = """
<ir_version: 10, opset_import: ["" : 23]>
found (float[n, 3] x, float[3, 2] w) => (float[m, 2] y) {
   zero = Constant <value = float {0.0}> ()
   axes = Constant <value = int64[1] {1}> ()
   last = Constant <value = int64[1] {0}> ()
   sums = ReduceSum <keepdims = 0> (x, axes)
   good = Greater (sums, zero)
   where = NonZero (good)
   rows = Squeeze (where, last)
   kept = Gather (x, rows)
   y = MatMul (kept, w)
}
"""

DISTINCT = """
<ir_version: 10, opset_import: ["" : 23]>
distinct (float[n] x) => (float[m] y) {
   u = Unique (x)
   y = Mul (u, u)
}
"""

WORDS = """
<ir_version: 10, opset_import: ["" : 23]>
words (string[n] a, float[n] x) => (string[n] s, float[n] y) {
   s = StringConcat (a, a)
   y = Exp (x)
}
"""


def program_of(text: str, backend: str) -> Program:
    return pm.compile(pm.load_onnx(parser.parse_model(text).SerializeToString(), trainable="none"), backend, "cpu")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loop_that_data_ends(backend: str) -> None:
    program, w = program_of(WHILE, backend), np.array([1.0, 1.2, 0.9])
    for scale, times in ((8.0, 4), (1.0, 1)):
        x = np.array([scale, scale / 2, scale / 4])
        want, count = x, 0
        while count == 0 or want.sum() > 1:
            want, count = want * w / 2, count + 1
        assert count >= times - 1
        np.testing.assert_allclose(program.predict({"x": x, "w": w})["y"], want, rtol=1e-14)
        g = np.array([1.0, -2.0, 3.0])
        found = program.gradients({"x": x, "w": w}, {"y": g})
        np.testing.assert_allclose(found["x"], g * (w / 2) ** count, rtol=1e-14)
        np.testing.assert_allclose(found["w"], g * x * count * w ** (count - 1) / 2**count, rtol=1e-14)
    assert "Loop" in program.host_operators


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_branch_that_data_picks(backend: str) -> None:
    program, g = program_of(CHOICE, backend), np.ones(3, np.float32)
    for x, y, d in (([1, 2, 3], [1, 4, 9], [2, 4, 6]), ([-1, -2, 1], [1, 2, -1], [-1, -1, -1])):
        feeds = {"x": np.array(x, np.float32)}
        np.testing.assert_array_equal(program.predict(feeds)["y"], np.array(y, np.float32))
        np.testing.assert_array_equal(program.gradients(feeds, {"y": g})["x"], np.array(d, np.float32))


@pytest.mark.parametrize("backend", BACKENDS)
def test_sequences_live_on_the_host(backend: str) -> None:
    program = program_of(PIECES, backend)
    found: dict[str, Any] = program.predict({"x": np.array([1, 2, 3, 4], np.float32)})
    np.testing.assert_array_equal(found["y"], [1, 4])
    assert found["n"] == 2
    assert program.host_operators == {"SplitToSequence", "SequenceLength", "SequenceAt"}


@pytest.mark.parametrize("backend", BACKENDS)
def test_sizes_that_are_known_late(backend: str) -> None:
    program, rng = program_of(FOUND, backend), np.random.default_rng(1)
    w = rng.standard_normal((3, 2)).astype(np.float32)
    for rows in (5, 7):
        x = rng.standard_normal((rows, 3)).astype(np.float32)
        good = x.sum(1) > 0
        assert 0 < good.sum() < rows
        np.testing.assert_allclose(program.predict({"x": x, "w": w})["y"], x[good] @ w, rtol=1e-5, atol=1e-6)
        g = rng.standard_normal((int(good.sum()), 2)).astype(np.float32)
        found = program.gradients({"x": x, "w": w}, {"y": g})
        want = np.zeros_like(x)
        want[good] = g @ w.T
        np.testing.assert_allclose(found["x"], want, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found["w"], x[good].T @ g, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_derivative_passes_the_host(backend: str) -> None:
    program = program_of(DISTINCT, backend)
    x = np.array([3, 1, 3], np.float32)
    np.testing.assert_array_equal(program.predict({"x": x})["y"], np.array([1, 9], np.float32))
    zeros = program.gradients({"x": x}, {"y": np.ones(2, np.float32)})["x"]  # the standard has no derivative of Unique
    np.testing.assert_array_equal(zeros, [0, 0, 0])
    program = program_of(PIECES, backend)
    with pytest.raises(Unsupported, match=r"SplitToSequence runs on the host.*'x'"):
        program.gradients({"x": np.ones(4, np.float32)}, {"y": np.ones(2, np.float32)})


HOT = """
<ir_version: 10, opset_import: ["" : 23]>
hot (int64[4] i, float[2] v) => (float[4, n] y) {
   one = Constant <value = int64 {1}> ()
   top = ReduceMax <keepdims = 0> (i)
   depth = Add (top, one)
   number = Cast <to = %d> (depth)
   y = OneHot (i, number, v)
}
"""


@pytest.mark.parametrize("kind", ["INT64", "FLOAT", "FLOAT16"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_derivative_of_what_the_standard_calls_not_differentiable(backend: str, kind: str) -> None:
    """OneHot's values have one, also where its size is computed."""
    program = program_of(HOT % getattr(TensorProto, kind), backend)
    feeds = {"i": np.array([0, 2, 1, 2]), "v": np.array([1, 3], np.float32)}
    y = program.predict(feeds)["y"]
    np.testing.assert_array_equal(y, np.eye(3)[feeds["i"]] * 2 + 1)
    np.testing.assert_array_equal(program.gradients(feeds, {"y": y}, ["v"])["v"], [8, 12])


def test_a_derivative_that_passes_the_host_is_refused_whatever_the_standard_calls_it(monkeypatch: pytest.MonkeyPatch) -> None:
    program = program_of(HOT % TensorProto.FLOAT16, "mxnet")
    monkeypatch.setattr("polymodel.inference._read", lambda value: value)  # then it is the host's
    feeds = {"i": np.array([0, 2, 1, 2]), "v": np.array([1, 3], np.float32)}
    with pytest.raises(Unsupported, match=r"OneHot runs on the host.*'v'"):
        program.gradients(feeds, {"y": np.ones((4, 3), np.float32)}, ["v"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_strings_pass_beside_numbers(backend: str) -> None:
    program = program_of(WORDS, backend)
    found = program.predict({"a": np.array(["x", "yz"]), "x": np.zeros(2, np.float32)})
    assert found["s"].tolist() == ["xx", "yzyz"]
    np.testing.assert_array_equal(found["y"], [1, 1])
    found = program.gradients({"a": np.array(["x", "yz"]), "x": np.zeros(2, np.float32)}, {"y": np.ones(2, np.float32)})
    np.testing.assert_array_equal(found["x"], [1, 1])
