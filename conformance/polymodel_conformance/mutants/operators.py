"""Faults in what an operator means: padding, pooling, resizing, axes, constants of functions, integers, special values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from polymodel_conformance.mutants.mutant import Arrays, Mutant, arrays, attributes, each, fed, nodes, stored
from polymodel_conformance.workers.jobs import Job

_F = "forward/generated/"


def _flipped(w: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(w[:, :, ::-1, ::-1])


def _interleaved(groups: int, axis: int = 0) -> Callable[[np.ndarray], np.ndarray]:
    """Channels taken in turn from each group instead of group after group."""

    def change(w: np.ndarray) -> np.ndarray:
        order = np.arange(w.shape[axis]).reshape(groups, -1).T.reshape(-1)
        return np.ascontiguousarray(np.take(w, order, axis))

    return change


def _last_term(x: np.ndarray) -> np.ndarray:
    x[..., -1] = 0
    return x


def _guarded(node: ir.Node, body: ir.Graph) -> None:
    """log(softmax(x) + 1e-7) for log softmax."""
    guard = ir.Value(name="guard", shape=ir.Shape(()), type=ir.TensorType(ir.DataType.FLOAT))
    guard.const_value = ir.tensor(np.array(1e-7, np.float32), name="guard")
    body.register_initializer(guard)
    soft = ir.node("Softmax", [node.inputs[0]], attributes=dict(node.attributes), name="soft")
    moved = ir.node("Add", [soft.outputs[0], guard], name="moved")
    for new in (soft, moved):
        new.outputs[0].name = f"{new.name}.out"
    body.insert_before(node, [soft, moved])
    node.replace_input_with(0, moved.outputs[0])
    node.op_type = "Log"
    node.attributes.clear()


def _saturated(job: Job, found: Arrays) -> None:
    """Integer sums that stop at the ends of their type."""
    a, b = (job.arrays[f"feed/i{i}"].astype(np.int64) for i in (0, 1))
    kind = np.iinfo(found["o0"].dtype)
    found["o0"] = np.clip(a + b, kind.min, kind.max).astype(found["o0"].dtype)


def _count_for_weights(job: Job, found: Arrays) -> None:
    """The weighted loss divided by the number of labels instead of the sum of their weights."""
    weights = job.arrays["feed/i2"]
    labels = np.array([0, 4, 2, 3, 1])
    found["o0"] = (found["o0"] * weights[labels].sum() / np.float32(len(labels))).astype(np.float32)


def _one_nan(job: Job, found: Arrays) -> None:
    found["o0"].reshape(-1)[-1] = np.nan


def _older(job: Job, found: Arrays) -> None:
    """The maximum of several tensors, with NaN passed over."""
    found["o0"] = np.fmax(job.arrays["feed/i0"], job.arrays["feed/i1"])


def _short(w: np.ndarray) -> np.ndarray:
    """Rounded to bfloat16 by dropping bits."""
    return (w.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


WINDOWS: tuple[Mutant, ...] = (
    Mutant("Conv kernel flipped", f"{_F}conv_odd", fed("i1", change=_flipped)),
    Mutant("Conv padding on the other side", f"{_F}conv_odd", attributes("Conv", pads=[0, 1, 1, 2])),
    Mutant("Conv SAME_LOWER for SAME_UPPER", f"{_F}conv_same_upper", attributes("Conv", auto_pad="SAME_LOWER")),
    Mutant("Conv groups interleaved", f"{_F}conv_groups", fed("i1", change=_interleaved(2))),
    Mutant("ConvTranspose kernel flipped", f"{_F}deconv", fed("i1", change=_flipped)),
    Mutant("ConvTranspose padding on the other side", f"{_F}deconv", attributes("ConvTranspose", pads=[1, 2, 1, 0])),
    Mutant("MaxPool padding on the other side", f"{_F}maxpool_odd", attributes("MaxPool", pads=[0, 1, 1, 0])),
    Mutant("MaxPool indices by row for by column", f"{_F}maxpool_indices_by_column", attributes("MaxPool", storage_order=0)),
    Mutant("AveragePool counts the padding", f"{_F}avgpool_odd", attributes("AveragePool", count_include_pad=1)),
    Mutant("AveragePool does not count the padding", f"{_F}avgpool_counted", attributes("AveragePool", count_include_pad=0)),
    Mutant("AveragePool SAME_LOWER for SAME_UPPER", f"{_F}avgpool_same", attributes("AveragePool", auto_pad="SAME_LOWER")),
    Mutant("LpPool p = 2 for p = 3", f"{_F}lppool_three", attributes("LpPool", p=2)),
    Mutant("Resize without the half pixel", f"{_F}resize_linear_half_pixel",
           attributes("Resize", coordinate_transformation_mode="asymmetric")),
    Mutant("Resize with aligned corners", f"{_F}resize_linear_half_pixel_smaller",
           attributes("Resize", coordinate_transformation_mode="align_corners")),
    Mutant("Resize cubic a = -0.5 for -0.75", f"{_F}resize_cubic_half_pixel", attributes("Resize", cubic_coeff_a=-0.5)),
    Mutant("Resize rounds halves up", f"{_F}resize_nearest_round_prefer_floor_halves",
           attributes("Resize", nearest_mode="round_prefer_ceil")),
    Mutant("Resize without antialiasing", f"{_F}resize_linear_antialias", attributes("Resize", antialias=0)),
    Mutant("Resize weighs what is outside", f"{_F}resize_cubic_exclude_outside", attributes("Resize", exclude_outside=0)),
    Mutant("GridSample with aligned corners", f"{_F}gridsample_linear_zeros", attributes("GridSample", align_corners=1)),
    Mutant("GridSample border for reflection", f"{_F}gridsample_linear_reflection", attributes("GridSample", padding_mode="border")),
    Mutant("AffineGrid with aligned corners", f"{_F}affinegrid", attributes("AffineGrid", align_corners=1)),
    Mutant("RoiAlign without the half pixel", f"{_F}roialign",
           attributes("RoiAlign", coordinate_transformation_mode="output_half_pixel")),
    Mutant("Pad edge for reflect", f"{_F}pad_reflect", attributes("Pad", mode="edge")),
    Mutant("DepthToSpace by rows for by columns", f"{_F}depth_to_space", attributes("DepthToSpace", mode="DCR")),
)
"""Convolutions, pooling, resizing, sampling, padding."""

SUMS: tuple[Mutant, ...] = (
    Mutant("one of 4099 terms left out", f"{_F}matmul_long", fed("i0", change=_last_term)),
    Mutant("one factor cut to bfloat16", f"{_F}gemm_linear", fed("i1", change=_short)),
    Mutant("Gemm alpha ignored", f"{_F}gemm_no_bias", attributes("Gemm", alpha=1.0)),
    Mutant("Gemm beta ignored", f"{_F}gemm_transposed", attributes("Gemm", beta=1.0)),
    Mutant("a long sum one part in 10^5 short", f"{_F}reducesum_long", reply=each(lambda a: (a * np.float32(1 - 1e-5)))),
    Mutant("mean over n - 1", f"{_F}reducemean_outer", reply=each(lambda a: a * np.float32(15 / 14))),
    Mutant("CumSum not exclusive", f"{_F}cumsum", attributes("CumSum", exclusive=0)),
    Mutant("CumSum from the front", f"{_F}cumsum", attributes("CumSum", reverse=0)),
    Mutant("Softmax over the last axis", f"{_F}softmax_middle", attributes("Softmax", axis=-1)),
    Mutant("LogSoftmax guarded by 1e-7", f"{_F}logsoftmax_last", nodes(["LogSoftmax"], _guarded)),
    Mutant("ignored label not ignored", f"{_F}loss_ignored_positive", attributes("SoftmaxCrossEntropyLoss", ignore_index=None)),
    Mutant("weighted loss over the number of labels", f"{_F}loss_weighted", reply=arrays(_count_for_weights)),
    Mutant("LayerNormalization epsilon 1e-6 for 1e-5", f"{_F}layernorm", attributes("LayerNormalization", epsilon=1e-6)),
    Mutant("InstanceNormalization epsilon 2e-5 for 1e-5", f"{_F}instancenorm", attributes("InstanceNormalization", epsilon=2e-5)),
    Mutant("GroupNormalization of 2 groups for 3", f"{_F}groupnorm", attributes("GroupNormalization", num_groups=2)),
    Mutant("RMSNormalization subtracts the mean", f"{_F}rmsnorm", attributes("RMSNormalization", becomes="LayerNormalization")),
    Mutant("LRN alpha not divided by the size", f"{_F}lrn", attributes("LRN", alpha=3e-4)),
    Mutant("inverse Fourier transform not divided", f"{_F}dft_inverse", reply=each(lambda a: a * np.float32(8))),
    Mutant("Attention scale ignored", f"{_F}attention_mask_added", attributes("Attention", scale=None)),
    Mutant("Attention softcap ignored", f"{_F}attention_masked", attributes("Attention", softcap=None)),
    Mutant("Attention sees the future", f"{_F}attention_causal_wide", attributes("Attention", is_causal=0)),
    Mutant("Attention window one wider", f"{_F}attention_window_left", attributes("Attention", left_window_size=2)),
    Mutant("RotaryEmbedding halves for interleaved", f"{_F}rotary_interleaved", attributes("RotaryEmbedding", interleaved=0)),
)
"""Products, reductions, normalizations, softmax, attention."""

ELEMENTS: tuple[Mutant, ...] = (
    Mutant("Gelu by tanh", f"{_F}gelu", attributes("Gelu", approximate="tanh")),
    Mutant("Selu constants of five digits", f"{_F}selu", attributes("Selu", alpha=1.6733, gamma=1.0507)),
    Mutant("HardSigmoid slope 1/6 for 0.2", f"{_F}hardsigmoid", attributes("HardSigmoid", alpha=1 / 6)),
    Mutant("LeakyRelu slope 0.02 for 0.01", f"{_F}leakyrelu", attributes("LeakyRelu", alpha=0.02)),
    Mutant("Swish alpha ignored", f"{_F}swish_alpha", attributes("Swish", alpha=None)),
    Mutant("float64 Softplus linear beyond 20", f"{_F}softplus_knee_float64",
           reply=arrays(lambda job, a: a.update(o0=np.where(job.arrays["feed/i0"] > 20, job.arrays["feed/i0"], a["o0"])))),
    Mutant("float64 computed in float32", f"{_F}conv_odd_float64", reply=each(lambda a: a.astype(np.float32).astype(np.float64))),
    Mutant("one ULP more in every sum", f"{_F}add_broadcast",
           reply=each(lambda a: np.nextafter(np.nextafter(a, np.float32(9)), np.float32(9)))),
    Mutant("negative index clamped", f"{_F}gather_negative", stored("i1", lambda a: np.maximum(a, 0))),
    Mutant("scattered twice, the last one wins", f"{_F}scatter_elements_add_twice", attributes("ScatterElements", reduction="none")),
    Mutant("Trilu one diagonal off", f"{_F}trilu_shifted", stored("i1", lambda a: a + 1)),
    Mutant("TopK smallest for largest", f"{_F}topk", attributes("TopK", largest=0)),
    Mutant("TopK indices as int32", f"{_F}topk", reply=each(lambda a: a.astype(np.int32), having="o1")),
    Mutant("zero point ignored", f"{_F}dequantize", stored("i2", lambda a: a * 0)),
    Mutant("quantized by rounding down", f"{_F}quantize", reply=arrays(lambda job, a: a.update(
        o0=np.clip(np.floor(job.arrays["feed/i0"] / np.float32(0.021)) + 128, 0, 255).astype(np.uint8)))),
    Mutant("remainder with the sign of the divisor", "forward/special/mod_of_truncation", attributes("Mod", fmod=0)),
    Mutant("integer sum saturates", "forward/special/add_wraps_int8", reply=arrays(_saturated)),
    Mutant("integer sum saturates, unsigned", "forward/special/add_wraps_uint8", reply=arrays(_saturated)),
    Mutant("quotient of integers rounds down", "forward/special/div_truncates",
           reply=arrays(lambda job, a: a.update(o0=job.arrays["feed/i0"] // job.arrays["feed/i1"]))),
    Mutant("halves rounded away from zero", "forward/special/round_halves",
           reply=arrays(lambda job, a: a.update(o0=np.trunc(job.arrays["feed/i0"] + np.copysign(np.float32(0.5), job.arrays["feed/i0"]))))),
    Mutant("cast to integers rounds", "forward/special/cast_truncates",
           reply=arrays(lambda job, a: a.update(o0=np.rint(job.arrays["feed/i0"]).astype(np.int32)))),
    Mutant("a maximum passes NaN over", "forward/special/max_of_nan", reply=arrays(_older)),
    Mutant("NaN answered as 0", "forward/special/sqrt_of_negative", reply=each(np.nan_to_num)),
    Mutant("infinity answered as the largest float", "forward/special/exp_overflows", reply=each(np.nan_to_num)),
    Mutant("infinity of the other sign", "forward/special/div_by_zero", reply=each(np.negative)),
    Mutant("NaN in one element", f"{_F}conv_odd", reply=arrays(_one_nan)),
    Mutant("float64 instead of float32", f"{_F}conv_odd", reply=each(lambda a: a.astype(np.float64))),
    Mutant("one axis more than a scalar has", f"{_F}mul_two_scalars", reply=each(lambda a: a.reshape(1))),
    Mutant("numbers for truth values", "forward/special/less_of_nan", reply=each(lambda a: a.astype(np.uint8))),
    Mutant("an output is missing", f"{_F}topk", reply=lambda job, answer: replace(
        answer, arrays={n: a for n, a in answer.arrays.items() if n != "o1"})),
)
"""Functions of one element, moves, integers, element types, special values."""

OPERATORS = (*WINDOWS, *SUMS, *ELEMENTS)
