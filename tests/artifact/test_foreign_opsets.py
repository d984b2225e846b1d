"""Operators of files of every opset from 6 to 28 mean what their opset says, on every backend."""

# ruff: noqa: E501  (models as one line of text each)

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from polymodel.backend import Backend
from tests.artifact.foreign import check, model_of

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
    "resize_tf_half_pixel": (
        (f"g ({IMAGE}) => (float[1,2,3,7] y) <float[0] r = {{}}, float[0] s = {{}}, int64[4] n = {{1, 2, 3, 7}}> {{ y = Resize <mode = "
        "\"nearest\", nearest_mode = \"floor\", coordinate_transformation_mode = \"tf_half_pixel_for_nn\"> (x, r, s, n) }"), (11, 12, 13),
    ),
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
