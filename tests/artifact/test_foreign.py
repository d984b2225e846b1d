"""Files of other writers, as they come: every way in which a file may say the same thing. Every backend agrees with others."""

# ruff: noqa: E501  (models as one line of text each)

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from polymodel.artifact.load import load_onnx
from polymodel.backend import Backend
from polymodel.errors import ArtifactError
from tests.artifact.foreign import check, drawn, meaning, model_of

FLOAT = TensorProto.FLOAT


@pytest.mark.parametrize("opset", [6, 7, 8, 13, 23])
def test_initializers_listed_as_inputs(backend: Backend, opset: int) -> None:
    model = model_of("g (float[2,3] x) => (float[2,4] y) <float[3,4] w, float[4] b> { h = MatMul (x, w)  y = Add (h, b) }", max(opset, 7))
    rng = np.random.default_rng(2)
    stored = {"w": rng.standard_normal((3, 4)).astype(np.float32), "b": rng.standard_normal(4).astype(np.float32)}
    del model.graph.initializer[:]
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in stored.items())
    for name, array in stored.items():
        model.graph.input.append(helper.make_tensor_value_info(name, FLOAT, array.shape))
    model.ir_version = 3
    graph = load_onnx(model)
    assert (graph.inputs, sorted(graph.parameters)) == (("x",), ["b", "w"])
    check(backend, model)


@pytest.mark.parametrize("shape", ["N, 3", "?, 3", "-1, 3"])
def test_unknown_sizes(backend: Backend, shape: str) -> None:
    """Sizes that are named, that have no name, and the -1 of some writers; several sizes in one program."""
    model = model_of("g (float[9,3] x) => (y) <float[3,2] w = {1, 2, 3, 4, 5, 6}> { y = MatMul (x, w) }", 17)
    first = model.graph.input[0].type.tensor_type.shape.dim[0]
    first.Clear()
    if shape.startswith("N"):
        first.dim_param = "N"
    elif shape.startswith("-1"):
        first.dim_value = -1
    program = backend.compile(load_onnx(model), "cpu")
    for count in (1, 4, 7):
        x = np.random.default_rng(count).standard_normal((count, 3)).astype(np.float32)
        np.testing.assert_allclose(program.predict({"x": x})["y"], x @ np.array([[1, 2], [3, 4], [5, 6]], np.float32), rtol=1e-5)


def test_two_unnamed_sizes_may_differ(backend: Backend) -> None:
    model = model_of("g (float[2] x, float[2] z) => (y) { y = Concat <axis = 0> (x, z) }", 13)
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].Clear()
    check(backend, model, {"x": np.arange(2, dtype=np.float32), "z": np.arange(5, dtype=np.float32)})


@pytest.mark.parametrize(
    "text",
    [
        "g (float[2,4,3] x) => (y) <float[4] s = {1, 2, 3, 4}, float[4] b = {0, 0, 1, 1}> { y = GroupNormalization <num_groups = 2> (x, s, b) }",
        ("g (float[2,4,3] x) => (y) <float[4] s = {1, 2, 3, 4}, float[4] b = {0, 0, 1, 1}> "
        "{ h = GroupNormalization <num_groups = 2> (x, s, b)  i = GroupNormalization <num_groups = 4> (h, s, b)  y = Relu (i) }"),
        "g (float[2,4,3] x) => (y) { h = MeanVarianceNormalization <axes = [0, 2]> (x)  y = Neg (h) }",
        "g (float[2,4,3] x) => (y, z) { y = Softmax (x)  z = Shape (x) }",
        "g (float[2,4,3] x) => (y) { s = Shape (x)  y = ConstantOfShape (s) }",
    ],
)
def test_outputs_without_a_type(backend: Backend, text: str) -> None:
    model = model_of(text, 21)
    typed = onnx.ModelProto()
    typed.CopyFrom(model)
    for value in model.graph.output:
        value.ClearField("type")
    results = ReferenceEvaluator(typed).run(None, drawn(model))
    assert isinstance(results, list)
    check(backend, model, want=[np.asarray(r) for r in results])


def test_weights_of_nodes(backend: Backend) -> None:
    """Weights that Constant and ConstantOfShape make are trained like stored ones."""
    model = model_of(
        "g (float[N,3] x) => (float[N,2] y) <int64[2] size = {4, 2}> {"
        " w = Constant <value = float[3,4] {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}> ()"
        " b = Constant <value_floats = [0.5, 1.5, -1.0, 2.0]> ()"
        " v = ConstantOfShape <value = float[1] {0.25}> (size)"
        " h = MatMul (x, w)  i = Add (h, b)  y = MatMul (i, v) }",
        20,
    )
    graph = load_onnx(model)
    assert {n: a.shape for n, a in graph.parameters.items()} == {"w": (3, 4), "b": (4,), "v": (4, 2)}
    check(backend, model)
    x = np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32)
    found = backend.compile(graph, "cpu").gradients({"x": x}, {"y": np.ones((3, 2), np.float32)})
    np.testing.assert_allclose(found["b"], np.full(4, 3 * 0.5), rtol=1e-5)
    assert found["v"].any()


BRANCHES = """
g (float[2,3] x, bool c) => (float[2,2] y) {
   y = If (c) <
      then_branch = a () => (float[2,2] p) <float[3,2] w = {1, 2, 3, 4, 5, 6}> { p = MatMul (x, w) },
      else_branch = b () => (float[2,2] q) { v = Constant <value = float[3,2] {-1, 1, -1, 1, -1, 1}> ()  q = MatMul (x, v) }>
}
"""


@pytest.mark.parametrize("taken", [True, False])
def test_weights_inside_of_branches(backend: Backend, taken: bool) -> None:
    model = model_of(BRANCHES, 16)
    graph = load_onnx(model)
    assert sorted(graph.parameters) == ["v", "w"]
    feeds = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "c": np.array(taken)}
    check(backend, model, feeds)
    found = backend.compile(graph, "cpu").gradients(feeds, {"y": np.ones((2, 2), np.float32)}, ["w", "v"])
    assert (bool(found["w"].any()), bool(found["v"].any())) == (taken, not taken)


LOOP = """
g (float[2,3] x, int64 n) => (float[2,3] y, float[k,2,3] all) <bool c = {1}> {
   y, all = Loop (n, c, x) <body = b (int64 i, bool go, float[2,3] s) => (bool on, float[2,3] t, float[2,3] each)
      <float[3,3] w = {0, 1, 0, 0, 0, 1, 1, 0, 0}> { on = Identity (go)  h = MatMul (s, w)  t = Add (h, x)  each = Identity (t) }>
}
"""


@pytest.mark.parametrize("trips", [1, 3])
def test_weights_inside_of_loops(backend: Backend, trips: int) -> None:
    model = model_of(LOOP, 16)
    assert list(load_onnx(model).parameters) == ["w"]
    check(backend, model, {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(trips)})


FUNCTIONS = """
g (float[2,4] x) => (float[2,4] y, float[2,4] z) <float[4] s = {1, 2, 3, 4}> {
   y = own.Outer <slope = 0.25, epsilon = 0.5> (x, s)
   z = own.Outer (x, s)
}
<domain: "own", opset_import: ["" : 18, "own" : 1]>
Outer <slope: float = 0.125, epsilon: float = 0.0625> (a, w) => (d) {
   b = own.Inner <alpha: float = @slope> (a)
   d = LayerNormalization <axis = -1, epsilon: float = @epsilon> (b, w)
}
<domain: "own", opset_import: ["" : 18]>
Inner <alpha: float> (a) => (c) {
   h = LeakyRelu <alpha: float = @alpha> (a)
   c = Sub (h, a)
}
"""


@pytest.mark.parametrize("opset", [18, 21])
def test_functions_with_attributes_by_reference(backend: Backend, opset: int) -> None:
    """Functions that call functions; attributes that are handed on, and defaults of those that are not given."""
    text = FUNCTIONS.replace('"" : 18', f'"" : {opset}')
    check(backend, model_of(text, opset, own=1))


def test_several_inputs_and_outputs(backend: Backend) -> None:
    text = """
    g (float[2,3] b, int64[3] i, float[2,3] a, bool c) => (float[2,3] sum, int64[3] j, float[2,3] b2, bool d, float[2,3] sum2) {
       sum = Add (a, b)  j = Neg (i)  b2 = Identity (b)  d = Not (c)  sum2 = Identity (sum)
    }
    """
    check(backend, model_of(text, 16))


def test_an_input_that_is_an_output_and_a_stored_output(backend: Backend) -> None:
    model = model_of("g (float[2] x, float[2] unread) => (float[2] x, float[2] k) <float[2] k = {1.5, 2.5}> {}", 16)
    x = np.array([1, 2], np.float32)
    check(backend, model, {"x": x, "unread": x}, [x, np.array([1.5, 2.5], np.float32)])


def test_operators_of_other_domains_are_refused_by_name_all_at_once() -> None:
    text = """
    g (float[2] x) => (float[2] y) <bool c = {1}> {
       a = com.vendor.Fused (x)
       b = com.other.Thing (a)
       y = If (c) <then_branch = t () => (float[2] p) { p = com.vendor.Deep (b) }, else_branch = e () => (float[2] q) { q = NoSuch (b) }>
    }
    """
    model = model_of(text, 16, **{"com.vendor": 1, "com.other": 2})
    with pytest.raises(ArtifactError, match=r"4 operator\(s\)") as caught:
        load_onnx(model)
    for name in ("com.vendor::Fused", "com.vendor::Deep", "com.other::Thing", "ai.onnx::NoSuch"):
        assert name in str(caught.value)
    assert "pm.rule" in str(caught.value)


# -- external data ----------------------------------------------------------------------------------------------------

GIB = 1 << 30
LOADER = """
import resource, sys
import numpy as np
from polymodel.artifact.load import load_onnx
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
graph = load_onnx(sys.argv[1], trainable="none" if sys.argv[2] == "none" else "auto")
stored = {**graph.parameters, **{n: v.const_value.numpy() for n, v in graph.model.graph.initializers.items()}}
big = stored["big"]
print(big.shape[0], float(big[0, 0]), float(big[-1, -1]), float(stored["w"][2, 1]), list(graph.parameters))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("trainable", ["auto", "none"])
def test_external_data_above_two_gibibytes(trainable: str, tmp_path: Path) -> None:
    """A table of 2.5 GiB and a small weight behind it in one sparse file: loading reads what is looked at."""
    rows, width, place = 5 * GIB // 2 // 4096, 1024, 5 * GIB // 2
    weight = np.arange(6, dtype=np.float32).reshape(3, 2)
    with (tmp_path / "net.data").open("wb") as file:
        file.seek(place - 4)
        file.write(np.float32(2.5).tobytes())
        file.write(weight.tobytes())
        file.truncate(3 * GIB)
    model = model_of("g (float[2,3] x, int64[2] i) => (float[2,2] y, float[2,1024] z) { y = MatMul (x, w)  z = Gather (big, i) }", 17)
    for name, dims, offset in (("w", (3, 2), place), ("big", (rows, width), 0)):
        tensor = model.graph.initializer.add(name=name, dims=dims, data_type=FLOAT, data_location=TensorProto.EXTERNAL)
        for key, value in {"location": "net.data", "offset": offset, "length": 4 * int(np.prod(dims))}.items():
            tensor.external_data.add(key=key, value=str(value))
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    done = subprocess.run([sys.executable, "-c", LOADER, str(path), trainable], capture_output=True, text=True, check=True)
    values, grown = done.stdout.splitlines()
    assert values == f"{rows} 0.0 2.5 5.0 {['w', 'big'] if trainable == 'auto' else []}"
    assert int(grown) < 200_000, "KiB"


def test_external_data_of_the_backends(backend: Backend, tmp_path: Path) -> None:
    model = model_of("g (float[2,3] x) => (float[2,2] y) <float[3,2] w = {1, 2, 3, 4, 5, 6}, float[2] b = {0.5, -0.5}> { h = MatMul (x, w)  y = Add (h, b) }", 17)
    feeds = drawn(model)
    want = meaning(model, feeds)
    onnx.save_model(model, tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0, convert_attribute=True)
    program = backend.compile(load_onnx(tmp_path / "net.onnx"), "cpu")
    np.testing.assert_allclose(program.predict(feeds)["y"], want[0], rtol=1e-5)
