"""Files of other writers, as they come: every opset from 6 to 28, and every way in which a file may say the same thing.

What a file means is said by ONNX Runtime, or by the reference evaluator of the onnx package where ONNX Runtime does not
take the opset; every backend agrees.
"""

# ruff: noqa: E501  (models as one line of text each)

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper, parser
from onnx.reference import ReferenceEvaluator

from polymodel.artifact.load import load_onnx
from polymodel.backend import Backend
from polymodel.errors import ArtifactError
from polymodel.registry import get_backend

Arrays = Mapping[str, np.ndarray]
LACKING = {"Swish"}  # without kernel in ONNX Runtime 1.31
FLOAT = TensorProto.FLOAT


@pytest.fixture(scope="module", params=["torch", "tensorflow", "mxnet"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Every backend in turn."""
    return get_backend(request.param)


def model_of(text: str, opset: int, **imports: int) -> onnx.ModelProto:
    """A model in the onnx package's text form; IR version 3 for the oldest, else what belongs to the opset."""
    ir_version = 3 if opset < 9 else helper.VERSION_TABLE[-1][1]
    for row in helper.VERSION_TABLE:
        if row[2] >= opset:
            ir_version = max(3, row[1])
            break
    opsets = ", ".join(f'"{d}" : {v}' for d, v in {"": opset, **imports}.items())
    return parser.parse_model(f"<ir_version: {ir_version}, opset_import: [{opsets}]> {text}")


def drawn(model: onnx.ModelProto, seed: int = 0) -> dict[str, np.ndarray]:
    """One array for each input that is no initializer; unknown sizes are 3."""
    rng, stored = np.random.default_rng(seed), {t.name for t in model.graph.initializer}
    feeds = {}
    for value in model.graph.input:
        if value.name not in stored:
            tensor = value.type.tensor_type
            shape = [d.dim_value or 3 for d in tensor.shape.dim]
            dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
            array = np.asarray(rng.standard_normal(shape))
            feeds[value.name] = np.asarray(array > 0 if dtype.kind == "b" else array * (1 if dtype.kind == "f" else 4), dtype)
    return feeds


def meaning(model: onnx.ModelProto, feeds: Arrays) -> list[np.ndarray]:
    """What others compute: ONNX Runtime up to opset 26, where it has a kernel; else the reference evaluator.

    ONNX Runtime has few kernels of opset 6. The operators here mean in opset 7 what they meant in 6, except
    BatchNormalization, Dropout and Gemm, whose attributes changed.
    """
    opset = next(o.version for o in model.opset_import if o.domain == "")
    operators = {n.op_type for n in model.graph.node}
    if opset > 26 or operators & LACKING or (opset == 6 and operators & {"BatchNormalization", "Gemm"}):
        results = ReferenceEvaluator(model).run(None, dict(feeds))
        assert isinstance(results, list)
        return [np.asarray(r) for r in results]
    if opset == 6:
        model = onnx.ModelProto.FromString(model.SerializeToString())
        model.opset_import[0].version = 7
        model.ir_version = 4  # initializers need not be inputs
        for node in model.graph.node:
            kept = [a for a in node.attribute if (node.op_type, a.name) != ("Dropout", "is_test")]
            del node.attribute[:]
            node.attribute.extend(kept)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(feeds)))


def check(backend: Backend, model: onnx.ModelProto, feeds: Arrays | None = None, want: list[np.ndarray] | None = None) -> None:
    """A backend computes what others compute."""
    given = drawn(model) if feeds is None else feeds
    expected = meaning(model, given) if want is None else want
    found = backend.compile(load_onnx(model), "cpu").predict(given)
    assert list(found) == [v.name for v in model.graph.output]
    for (name, got), wanted in zip(found.items(), expected, strict=True):
        assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape), name
        np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-6, err_msg=name)


# -- what changed from opset to opset ---------------------------------------------------------------------------------

X = "float[2,3,4] x"
STATISTICS = "<float[3] s = {1.5, -0.5, 2.0}, float[3] b = {0.1, 0.2, -0.3}, float[3] m = {0.3, -0.2, 0.5}, float[3] v = {0.5, 1.0, 2.0}>"
IMAGE = "float[1,2,5,4] x"

CHANGED: dict[str, tuple[str, tuple[int, ...]]] = {
    "softmax": (f"g ({X}) => (float[2,3,4] y) {{ y = Softmax (x) }}", (7, 11, 12, 13, 24)),
    "softmax_axis": (f"g ({X}) => (float[2,3,4] y) {{ y = Softmax <axis = 1> (x) }}", (7, 11, 13)),
    "softmax_first": (f"g ({X}) => (float[2,3,4] y) {{ y = Softmax <axis = 0> (x) }}", (8, 12, 13)),
    "log_softmax": (f"g ({X}) => (float[2,3,4] y) {{ y = LogSoftmax <axis = 1> (x) }}", (9, 11, 13, 26)),
    "hardmax": (f"g ({X}) => (float[2,3,4] y) {{ y = Hardmax <axis = 1> (x) }}", (9, 11, 13)),
    "batch_norm_6": (f"g ({X}) => (float[2,3,4] y) {STATISTICS} {{ y = BatchNormalization <is_test = 1> (x, s, b, m, v) }}", (6,)),
    "batch_norm_7": (f"g ({X}) => (float[2,3,4] y) {STATISTICS} {{ y = BatchNormalization <spatial = 1> (x, s, b, m, v) }}", (7, 8)),
    "batch_norm": (
        f"g ({X}) => (float[2,3,4] y) {STATISTICS} {{ y = BatchNormalization <epsilon = 0.01> (x, s, b, m, v) }}", (9, 13, 14, 15, 21),
    ),
    "batch_norm_training": (
        (f"g ({X}) => (float[2,3,4] y, float[3] n, float[3] w) {STATISTICS} {{ y, n, w = BatchNormalization <training_mode = 1, "
        "momentum = 0.8> (x, s, b, m, v) }"), (14, 15, 22),
    ),
    "clip_attributes": (f"g ({X}) => (float[2,3,4] y) {{ y = Clip <min = -0.5, max = 0.75> (x) }}", (6, 7, 10)),
    "clip_one_side": (f"g ({X}) => (float[2,3,4] y) {{ y = Clip <max = 0.25> (x) }}", (6, 10)),
    "clip_inputs": (f"g ({X}) => (float[2,3,4] y) <float l = {{-0.5}}, float h = {{0.75}}> {{ y = Clip (x, l, h) }}", (11, 12, 13, 25)),
    "clip_high": (f"g ({X}) => (float[2,3,4] y) <float h = {{0.75}}> {{ y = Clip (x, , h) }}", (11, 13)),
    "clip_integers": ("g (int32[5] x) => (int32[5] y) <int32 l = {-2}, int32 h = {3}> { y = Clip (x, l, h) }", (12, 13)),
    "dropout_6": (f"g ({X}) => (float[2,3,4] y) {{ y = Dropout <is_test = 1, ratio = 0.4> (x) }}", (6,)),
    "dropout_attribute": (f"g ({X}) => (float[2,3,4] y) {{ y = Dropout <ratio = 0.4> (x) }}", (7, 10)),
    "dropout_inputs": (f"g ({X}) => (float[2,3,4] y) <float r = {{0.4}}> {{ y = Dropout (x, r) }}", (12, 13, 22)),
    "slice_attributes": (f"g ({X}) => (float[2,2,2] y) {{ y = Slice <axes = [1, 2], starts = [0, -3], ends = [2, -1]> (x) }}", (6, 9)),
    "slice_inputs": (
        (f"g ({X}) => (float[2,2,2] y) <int64[2] s = {{-1, 0}}, int64[2] e = {{0, 100}}, int64[2] a = {{1, 2}}, int64[2] t = {{-1, 2}}> "
        "{ y = Slice (x, s, e, a, t) }"), (10, 11, 13),
    ),
    "squeeze_attribute": ("g (float[1,3,1] x) => (float[3] y) { y = Squeeze <axes = [0, 2]> (x) }", (6, 11, 12)),
    "squeeze_input": ("g (float[1,3,1] x) => (float[1,3] y) <int64[1] a = {-1}> { y = Squeeze (x, a) }", (13, 21, 24)),
    "unsqueeze_attribute": (f"g ({X}) => (float[1,2,3,1,4] y) {{ y = Unsqueeze <axes = [0, 3]> (x) }}", (6, 11)),
    "unsqueeze_input": (f"g ({X}) => (float[1,2,3,4,1] y) <int64[2] a = {{-1, 0}}> {{ y = Unsqueeze (x, a) }}", (13, 23)),
    "pad_attribute": (f"g ({X}) => (float[2,5,5] y) {{ y = Pad <pads = [0, 1, 0, 0, 1, 1], value = 1.5> (x) }}", (6, 10)),
    "pad_reflect_2": (f"g ({X}) => (float[2,5,5] y) {{ y = Pad <pads = [0, 1, 0, 0, 1, 1], mode = \"reflect\"> (x) }}", (7, 10)),
    "pad_input": (f"g ({X}) => (float[2,5,5] y) <int64[6] p = {{0, 1, 0, 0, 1, 1}}, float v = {{2.5}}> {{ y = Pad (x, p, v) }}", (11, 13, 18)),
    "pad_axes": (
        f"g ({X}) => (float[2,3,9] y) <int64[2] p = {{2, 3}}, int64[1] a = {{-1}}> {{ y = Pad <mode = \"reflect\"> (x, p, , a) }}", (18, 21),
    ),
    "pad_wrap": (f"g ({X}) => (float[2,3,9] y) <int64[6] p = {{0, 0, 2, 0, 0, 3}}> {{ y = Pad <mode = \"wrap\"> (x, p) }}", (19, 21)),
    "upsample_attribute": (f"g ({IMAGE}) => (float[1,2,10,12] y) {{ y = Upsample <scales = [1.0, 1.0, 2.0, 3.0]> (x) }}", (7, 8)),
    "upsample_input": (
        f"g ({IMAGE}) => (float[1,2,10,12] y) <float[4] s = {{1.0, 1.0, 2.0, 3.0}}> {{ y = Upsample <mode = \"linear\"> (x, s) }}", (9,),
    ),
    "resize_10": (f"g ({IMAGE}) => (float[1,2,10,12] y) <float[4] s = {{1.0, 1.0, 2.0, 3.0}}> {{ y = Resize <mode = \"linear\"> (x, s) }}", (10,)),
    **{
        f"resize_{how}": (
            (f"g ({IMAGE}) => (float[1,2,10,12] y) <float[0] r = {{}}, float[4] s = {{1.0, 1.0, 2.0, 3.0}}> {{ y = Resize <mode = "
            f"\"{mode}\", coordinate_transformation_mode = \"{how}\"> (x, r, s) }}"), (11, 13, 18),
        )
        for how, mode in (("half_pixel", "linear"), ("align_corners", "linear"), ("asymmetric", "nearest"), ("pytorch_half_pixel", "cubic"))
    },
    "resize_sizes": (
        (f"g ({IMAGE}) => (float[1,2,3,7] y) <float[0] r = {{}}, float[0] s = {{}}, int64[4] n = {{1, 2, 3, 7}}> "
        "{ y = Resize <mode = \"linear\"> (x, r, s, n) }"), (11, 13),
    ),
    "resize_axes": (f"g ({IMAGE}) => (float[1,2,3,7] y) <int64[2] n = {{3, 7}}> {{ y = Resize <mode = \"linear\", axes = [2, 3]> (x, , , n) }}", (18, 19)),
    "resize_smooth": (
        f"g ({IMAGE}) => (float[1,2,3,2] y) <int64[4] n = {{1, 2, 3, 2}}> {{ y = Resize <mode = \"linear\", antialias = 1> (x, , , n) }}", (18, 19),
    ),
    "reduce_sum_attribute": (f"g ({X}) => (float[2,1,1] y) {{ y = ReduceSum <axes = [1, -1]> (x) }}", (11, 12)),
    "reduce_sum_6": (f"g ({X}) => (float[2] y) {{ y = ReduceSum <axes = [1, 2], keepdims = 0> (x) }}", (6, 10)),
    "reduce_sum_input": (f"g ({X}) => (float[3] y) <int64[2] a = {{0, -1}}> {{ y = ReduceSum <keepdims = 0> (x, a) }}", (13, 26)),
    "reduce_sum_nothing": (f"g ({X}) => (float[2,3,4] y) {{ y = ReduceSum <noop_with_empty_axes = 1> (x) }}", (13, 18)),
    "reduce_mean_attribute": (f"g ({X}) => (float[2,1,4] y) {{ y = ReduceMean <axes = [1]> (x) }}", (7, 11, 13, 17)),
    "reduce_mean_input": (f"g ({X}) => (float[2,1,4] y) <int64[1] a = {{1}}> {{ y = ReduceMean (x, a) }}", (18, 20)),
    "reduce_max_attribute": (f"g ({X}) => (float[1,1,1] y) {{ y = ReduceMax (x) }}", (7, 11, 12, 13, 18, 20)),
    "top_k_attribute": (f"g ({X}) => (float[2,2,4] y, int64[2,2,4] i) {{ y, i = TopK <axis = 1, k = 2> (x) }}", (7, 9)),
    "top_k_input": (f"g ({X}) => (float[2,3,2] y, int64[2,3,2] i) <int64[1] k = {{2}}> {{ y, i = TopK (x, k) }}", (10, 11, 24)),
    "top_k_smallest": (f"g ({X}) => (float[2,2,4] y, int64[2,2,4] i) <int64[1] k = {{2}}> {{ y, i = TopK <largest = 0, axis = 1> (x, k) }}", (11, 24)),
    "split_attribute": (f"g ({X}) => (float[2,3,1] y, float[2,3,3] z) {{ y, z = Split <axis = 2, split = [1, 3]> (x) }}", (6, 11)),
    "split_equal": (f"g ({X}) => (float[2,3,2] y, float[2,3,2] z) {{ y, z = Split <axis = 2> (x) }}", (6, 11, 13)),
    "split_input": (f"g ({X}) => (float[2,3,1] y, float[2,3,3] z) <int64[2] s = {{1, 3}}> {{ y, z = Split <axis = -1> (x, s) }}", (13, 18)),
    "split_number": (f"g ({X}) => (float[2,2,4] y, float[2,1,4] z) {{ y, z = Split <axis = 1, num_outputs = 2> (x) }}", (18,)),
    "layer_norm": (f"g ({X}) => (float[2,3,4] y) <float[4] s = {{1.0, 2.0, 0.5, -1.0}}> {{ y = LayerNormalization (x, s) }}", (17, 21, 26)),
    "group_norm": (
        ("g (float[2,4,3] x) => (float[2,4,3] y) <float[4] s = {1.0, 2.0, 0.5, -1.0}, float[4] b = {0.0, 1.0, 2.0, 3.0}> "
        "{ y = GroupNormalization <num_groups = 2> (x, s, b) }"), (21, 24),
    ),
    "instance_norm": (f"g ({X}) => (float[2,3,4] y) {STATISTICS} {{ y = InstanceNormalization (x, s, b) }}", (6, 22)),
    "gemm_6": (
        "g (float[2,3] x, float[3,4] z, float[4] c) => (float[2,4] y) { y = Gemm <broadcast = 1, alpha = 0.5, beta = 2.0> (x, z, c) }", (6,),
    ),
    "gemm": ("g (float[3,2] x, float[4,3] z, float[4] c) => (float[2,4] y) { y = Gemm <transA = 1, transB = 1, beta = 2.0> (x, z, c) }", (7, 9, 11, 13)),
    "gemm_without_bias": ("g (float[2,3] x, float[3,4] z) => (float[2,4] y) { y = Gemm (x, z) }", (11, 13)),
    "average_pool_6": (f"g ({IMAGE}) => (float[1,2,6,5] y) {{ y = AveragePool <kernel_shape = [2, 2], pads = [1, 1, 1, 1]> (x) }}", (6, 7, 10, 19)),
    "average_pool_padding": (
        f"g ({IMAGE}) => (float[1,2,6,5] y) {{ y = AveragePool <kernel_shape = [2, 2], pads = [1, 1, 1, 1], count_include_pad = 1> (x) }}", (7, 11, 22),
    ),
    "max_pool": (f"g ({IMAGE}) => (float[1,2,4,3] y) {{ y = MaxPool <kernel_shape = [2, 2]> (x) }}", (6, 8, 10, 11, 12, 22)),
    "max_pool_indices": (f"g ({IMAGE}) => (float[1,2,4,3] y, int64[1,2,4,3] i) {{ y, i = MaxPool <kernel_shape = [2, 2]> (x) }}", (8, 12)),
    "max_pool_ceiling": (
        f"g ({IMAGE}) => (float[1,2,3,2] y) {{ y = MaxPool <kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1> (x) }}", (10, 12),
    ),
    "scatter_9": ("g (float[3,3] x, float[2,3] u) => (float[3,3] y) <int64[2,3] i = {1, 0, 2, 0, 2, 1}> { y = Scatter (x, i, u) }", (9, 10)),
    "scatter_elements": (
        "g (float[3,3] x, float[2,3] u) => (float[3,3] y) <int64[2,3] i = {1, 0, 2, 0, 2, -2}> { y = ScatterElements (x, i, u) }", (11, 13, 16, 18),
    ),
    "cast": ("g (float[2,3] x) => (int32[2,3] y) { y = Cast <to = 6> (x) }", (6, 9, 13, 19, 25)),
    "flatten": (f"g ({X}) => (float[2,12] y) {{ y = Flatten (x) }}", (6, 9, 11, 13, 21, 25)),
    "reshape": (f"g ({X}) => (float[2,12] y) <int64[2] s = {{0, -1}}> {{ y = Reshape (x, s) }}", (6, 13, 14, 25)),
    "prelu": ("g (float[2,3] x) => (float[2,3] y) <float[3] s = {0.1, 0.2, 0.3}> { y = PRelu (x, s) }", (7, 9, 16)),
    "equal": ("g (int32[2,3] x, int32[3] z) => (bool[2,3] y) { y = Equal (x, z) }", (7, 11, 13, 19)),
    "sum_of_three": ("g (float[2,3] x, float[3] z, float[2,1] w) => (float[2,3] y) { y = Sum (x, z, w) }", (8, 13)),
    "lstm": (
        ("g (float[3,2,2] x, float[1,8,2] w, float[1,8,2] r) => (float[3,1,2,2] y, float[1,2,2] h, float[1,2,2] c) "
        "{ y, h, c = LSTM <hidden_size = 2> (x, w, r) }"), (7, 14, 22),
    ),
    "cumsum": (f"g ({X}) => (float[2,3,4] y) <int32 a = {{1}}> {{ y = CumSum <reverse = 1> (x, a) }}", (11, 14)),
    "mod": ("g (float[4] x, float[4] z) => (float[4] y) { y = Mod <fmod = 1> (x, z) }", (10, 13)),
    "quantize": ("g (float[6] x) => (uint8[6] y) <float s = {0.05}, uint8 z = {120}> { y = QuantizeLinear (x, s, z) }", (10, 13, 19, 21, 25)),
    "dft_attribute": ("g (float[2,8,1] x) => (float[2,5,2] y) { y = DFT <axis = 1, onesided = 1> (x) }", (17, 19)),
    "dft_input": ("g (float[2,8,1] x) => (float[2,5,2] y) <int64 a = {1}> { y = DFT <onesided = 1> (x, , a) }", (20,)),
    "gelu": ("g (float[2,8] x) => (float[2,8] y) { y = Gelu (x) }", (20, 26)),
    "swish": ("g (float[2,8] x) => (float[2,8] y) { y = Swish (x) }", (24, 25)),
    "range": ("g (float[2,8] x) => (float[2,8] y) <float a = {0.0}, float b = {8.0}, float d = {1.0}> { r = Range (a, b, d)  y = Add (x, r) }", (11, 26, 27)),
    "new": ("g (float[2,8] x) => (float[2,8] y) { h = Relu (x)  y = Sub (h, x) }", (6, 7, 13, 14, 27, 28)),
    "attention": ("g (float[1,2,3,4] q, float[1,2,3,4] k, float[1,2,3,4] v) => (float[1,2,3,4] y) { y = Attention <is_causal = 1> (q, k, v) }", (23, 24)),
}  # fmt: skip


@pytest.mark.parametrize(("name", "opset"), [(n, o) for n, (_, opsets) in CHANGED.items() for o in opsets])
def test_an_operator_means_what_its_opset_says(backend: Backend, name: str, opset: int) -> None:
    check(backend, model_of(CHANGED[name][0], opset))


@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Div"])
def test_broadcasting_once_had_an_axis(backend: Backend, op_type: str) -> None:
    operation: Any = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}[op_type]
    x, z = (np.random.default_rng(i).standard_normal((2, 3, 4)).astype(np.float32) for i in range(2))
    for shape, axis, place in (((3,), ", axis = 1", (3, 1)), ((2, 3), ", axis = 0", (2, 3, 1)), ((3, 4), "", (3, 4))):
        small = z.ravel()[: int(np.prod(shape))].reshape(shape)
        sizes = ",".join(str(n) for n in shape)
        model = model_of(f"g (float[2,3,4] x, float[{sizes}] z) => (float[2,3,4] y) {{ y = {op_type} <broadcast = 1{axis}> (x, z) }}", 6)
        check(backend, model, {"x": x, "z": small}, [operation(x, small.reshape(place))])


def test_group_normalization_had_numbers_for_each_group(backend: Backend) -> None:
    x = np.random.default_rng(1).standard_normal((2, 6, 3, 2)).astype(np.float32)
    text = (
        "g (float[2,6,a,b] x) => (y) <float[2] s = {2.0, -0.5}, float[2] b = {1.0, 3.0}> "
        "{ h = GroupNormalization <num_groups = 2, epsilon = 0.01> (x, s, b)  y = Relu (h) }"
    )
    groups = x.astype(np.float64).reshape(2, 2, -1)
    normal = (groups - groups.mean(2, keepdims=True)) / np.sqrt(groups.var(2, keepdims=True) + 0.01)
    want = np.maximum(normal * np.array([2.0, -0.5])[:, None] + np.array([1.0, 3.0])[:, None], 0).reshape(x.shape).astype(np.float32)
    for opset in (18, 19, 20):
        check(backend, model_of(text, opset), {"x": x}, [want])


# -- how files are written --------------------------------------------------------------------------------------------


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
