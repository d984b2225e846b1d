"""Operator calls that the standard's tests do not make: odd sizes, strides, asymmetric padding, groups, dilations, broadcasting.

A row is (name, operator, inputs, attributes). An input is a shape (standard normal numbers), "+shape" as a tuple starting
with "+" (positive numbers), "u" (in (-0.9, 0.9)), or an array, which is fed as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from polymodel.builder import Builder
from polymodel.graph import Graph
from polymodel.spec import TensorSpec
from polymodel_conformance.corpus.entry import Entry

Row: TypeAlias = tuple[str, str, tuple[Any, ...], dict[str, Any]]

_I = np.int64
_UNARY = {
    "": "Neg Exp Erf Sin Cos Sinh Cosh Tanh Asinh Atan Sigmoid Softplus Softsign Gelu Mish Elu Selu Celu HardSigmoid "
    "HardSwish LeakyRelu ThresholdedRelu Relu Abs Identity",
    "+": "Log Sqrt Reciprocal",
    "u": "Asin Acos Atanh Tan",
}


def _unary() -> list[Row]:
    rows: list[Row] = []
    for kind, ops in _UNARY.items():
        for op in ops.split():
            shape: tuple[Any, ...] = (3, 5, 7) if not kind else (kind, 3, 5, 7)
            rows.append((op.lower(), op, (shape,), {}))
    rows.append(("gelu_tanh", "Gelu", ((4, 9),), {"approximate": "tanh"}))
    rows.append(("clip", "Clip", ((4, 9), np.float32(-0.5), np.float32(0.75)), {}))
    return rows


_BINARY: list[Row] = [
    (f"{op.lower()}_broadcast", op, (a, b), {})
    for op, a, b in (
        ("Add", (2, 1, 5), (3, 1)),
        ("Sub", (5,), (2, 3, 1)),
        ("Mul", (2, 3, 5), (3, 1)),
        ("Div", (2, 3, 5), ("+", 1, 5)),
        ("Pow", ("+", 2, 3, 5), (3, 1)),
        ("Max", (2, 3, 5), (3, 1)),
        ("Min", (2, 3, 5), (5,)),
        ("PRelu", (2, 3, 5), (3, 1)),
    )
]

_PRODUCTS: list[Row] = [
    ("matmul_2d", "MatMul", ((7, 33), (33, 5)), {}),
    ("matmul_broadcast", "MatMul", ((5, 1, 2, 3), (4, 3, 2)), {}),
    ("matmul_vector", "MatMul", ((3, 4, 9), (9,)), {}),
    ("matmul_long", "MatMul", ((4, 4099), (4099, 3)), {}),
    ("gemm_transposed", "Gemm", ((9, 7), (5, 9), (5,)), {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}),
    ("gemm_linear", "Gemm", ((13, 129), (17, 129), (17,)), {"transB": 1}),
    ("einsum_batch", "Einsum", ((3, 4, 5), (3, 5, 6)), {"equation": "bij,bjk->bik"}),
    ("einsum_outer", "Einsum", ((4,), (5,)), {"equation": "i,j->ij"}),
    ("conv_1d", "Conv", ((2, 3, 17), (5, 3, 4), (5,)), {"strides": [3], "pads": [2, 1], "dilations": [2]}),
    ("conv_odd", "Conv", ((2, 4, 11, 9), (6, 4, 3, 5), (6,)), {"strides": [2, 3], "pads": [1, 2, 0, 1]}),
    ("conv_groups", "Conv", ((2, 6, 9, 8), (4, 3, 3, 3)), {"group": 2, "pads": [1, 1, 1, 1]}),
    ("conv_depthwise", "Conv", ((2, 5, 8, 7), (10, 1, 3, 3), (10,)), {"group": 5, "dilations": [2, 1]}),
    ("conv_same_upper", "Conv", ((1, 3, 8, 7), (4, 3, 4, 3)), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("conv_same_lower", "Conv", ((1, 3, 8, 7), (4, 3, 4, 3)), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    ("conv_3d", "Conv", ((1, 2, 5, 6, 7), (3, 2, 2, 3, 3)), {"strides": [1, 2, 1], "pads": [0, 1, 1, 1, 0, 1]}),
    ("deconv", "ConvTranspose", ((2, 4, 5, 6), (4, 3, 3, 4), (3,)),
     {"strides": [2, 3], "pads": [1, 0, 1, 2], "output_padding": [1, 1]}),
    ("deconv_groups", "ConvTranspose", ((1, 4, 5), (4, 2, 3)), {"strides": [2], "group": 2, "dilations": [2]}),
]

_POOLS: list[Row] = [
    ("maxpool_odd", "MaxPool", ((2, 3, 11, 9),), {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 0, 1]}),
    ("maxpool_ceil", "MaxPool", ((1, 2, 10, 7),), {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ("maxpool_dilated", "MaxPool", ((1, 2, 9, 9),), {"kernel_shape": [2, 3], "dilations": [3, 2]}),
    ("avgpool_odd", "AveragePool", ((2, 3, 11, 9),), {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 0, 1]}),
    ("avgpool_counted", "AveragePool", ((2, 3, 8, 9),),
     {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 0, 1], "count_include_pad": 1}),
    ("avgpool_ceil", "AveragePool", ((1, 2, 10, 7),), {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ("avgpool_same", "AveragePool", ((1, 2, 7, 8),), {"kernel_shape": [3, 4], "strides": [2, 3], "auto_pad": "SAME_UPPER"}),
    ("global_average", "GlobalAveragePool", ((2, 3, 7, 5),), {}),
    ("global_max", "GlobalMaxPool", ((2, 3, 7, 5),), {}),
]

_REDUCTIONS: list[Row] = [
    (f"{op.lower()}{name}", op, ((("+", 3, 7, 5) if "Log" in op else (3, 7, 5)), np.array(axes, _I)), {"keepdims": keep})
    for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare",
               "ReduceLogSum", "ReduceLogSumExp", "ReduceProd")
    for name, axes, keep in (("_last", [-1], 1), ("_outer", [0, 2], 0))
]

_SOFTMAX: list[Row] = [
    ("softmax_middle", "Softmax", ((3, 7, 5),), {"axis": 1}),
    ("logsoftmax_first", "LogSoftmax", ((9, 4),), {"axis": 0}),
    ("softmax_long", "Softmax", ((3, 1027),), {}),
    ("loss_weighted", "SoftmaxCrossEntropyLoss", ((6, 5), np.array([0, 4, 2, -1, 3, 1], _I), ("+", 5)), {"ignore_index": -1}),
    ("loss_spatial", "SoftmaxCrossEntropyLoss", ((2, 4, 3), np.array([[0, 3, 1], [2, 2, 0]], _I)), {"reduction": "sum"}),
    ("nll", "NegativeLogLikelihoodLoss", ((3, 5), np.array([4, 0, 2], _I), ("+", 5)), {}),
    ("attention", "Attention", ((2, 3, 5, 8), (2, 3, 7, 8), (2, 3, 7, 6)), {}),
    ("attention_causal_grouped", "Attention", ((1, 5, 24), (1, 5, 12), (1, 5, 12)),
     {"q_num_heads": 4, "kv_num_heads": 2, "is_causal": 1}),
    ("attention_masked", "Attention", ((1, 2, 4, 8), (1, 2, 4, 8), (1, 2, 4, 8), np.tri(4).astype(bool)), {"softcap": 2.0}),
]

_NORMS: list[Row] = [
    ("layernorm", "LayerNormalization", ((3, 4, 37), ("+", 37), (37,)), {"epsilon": 1e-5}),
    ("layernorm_two_axes", "LayerNormalization", ((3, 5, 7), ("+", 5, 7), (5, 7)), {"axis": 1}),
    ("instancenorm", "InstanceNormalization", ((2, 3, 7, 5), ("+", 3), (3,)), {}),
    ("rmsnorm", "RMSNormalization", ((3, 37), ("+", 37)), {}),
    ("groupnorm", "GroupNormalization", ((2, 6, 5, 3), ("+", 6), (6,)), {"num_groups": 3}),
    ("batchnorm_eval", "BatchNormalization", ((3, 4, 5, 2), ("+", 4), (4,), (4,), ("+", 4)), {"epsilon": 1e-3}),
    ("lrn", "LRN", ((2, 7, 4, 3),), {"size": 3}),
    ("lpnorm", "LpNormalization", ((4, 9),), {"axis": 1, "p": 2}),
]

_RECURRENT: list[Row] = [
    ("lstm_both_ways", "LSTM", ((5, 3, 4), (2, 24, 4), (2, 24, 6), (2, 48)), {"hidden_size": 6, "direction": "bidirectional"}),
    ("lstm_lengths", "LSTM", ((5, 3, 4), (1, 24, 4), (1, 24, 6), (1, 48), np.array([5, 2, 3], np.int32)), {"hidden_size": 6}),
    ("lstm_peepholes", "LSTM", ((4, 2, 3), (1, 20, 3), (1, 20, 5), (1, 40), None, (1, 2, 5), (1, 2, 5), (1, 15)), {"hidden_size": 5}),
    ("gru", "GRU", ((5, 3, 4), (1, 18, 4), (1, 18, 6), (1, 36)), {"hidden_size": 6}),
    ("gru_linear_before_reset", "GRU", ((5, 3, 4), (1, 18, 4), (1, 18, 6), (1, 36)), {"hidden_size": 6, "linear_before_reset": 1}),
    ("rnn_reverse", "RNN", ((5, 3, 4), (1, 6, 4), (1, 6, 6), (1, 12)), {"hidden_size": 6, "direction": "reverse"}),
]

_MOVES: list[Row] = [
    ("transpose", "Transpose", ((2, 3, 4, 5),), {"perm": [3, 1, 0, 2]}),
    ("slice_backwards", "Slice", ((5, 7), np.array([-1, 6], _I), np.array([-6, 0], _I), np.array([0, 1], _I), np.array([-2, -3], _I)), {}),
    ("pad_reflect", "Pad", ((3, 5), np.array([1, 2, 0, 3], _I)), {"mode": "reflect"}),
    ("pad_edge", "Pad", ((3, 5), np.array([1, 2, 0, 3], _I)), {"mode": "edge"}),
    ("pad_crop", "Pad", ((5, 6), np.array([-1, 2, 1, -2], _I), np.float32(1.5)), {}),
    ("tile", "Tile", ((2, 3, 2), np.array([2, 3, 2], _I)), {}),
    ("expand", "Expand", ((3, 1), np.array([2, 3, 4], _I)), {}),
    ("gather_negative", "Gather", ((5, 4), np.array([[0, -1, 2], [2, 2, -5]], _I)), {}),
    ("gather_elements", "GatherElements", ((3, 4), np.array([[0, -1, 2, 2], [1, 1, 0, -3]], _I)), {"axis": 0}),
    ("gather_nd", "GatherND", ((3, 4, 2), np.array([[0, 1], [2, -1]], _I)), {}),
    ("scatter_elements_add", "ScatterElements", ((3, 4), np.array([[0, 2, 0, 1]], _I), (1, 4)), {"reduction": "add"}),
    ("depth_to_space", "DepthToSpace", ((1, 8, 2, 3),), {"blocksize": 2, "mode": "CRD"}),
    ("trilu", "Trilu", ((4, 5),), {"upper": 0}),
    ("cumsum", "CumSum", ((3, 7), np.array(1, _I)), {"reverse": 1, "exclusive": 1}),
    ("where", "Where", (np.array([[True], [False]]), (2, 3), (1, 3)), {}),
]

ROWS = [*_unary(), *_BINARY, *_PRODUCTS, *_POOLS, *_REDUCTIONS, *_SOFTMAX, *_NORMS, *_RECURRENT, *_MOVES]
SMOKE = frozenset(
    [
        "exp",
        "relu",
        "gelu",
        "matmul_2d",
        "gemm_linear",
        "conv_odd",
        "maxpool_odd",
        "avgpool_odd",
        "softmax_middle",
        "layernorm",
        "lstm_both_ways",
        "reducesum_outer",
        "transpose",
        "gather_negative",
        "attention",
        "pad_reflect",
    ]
)


def generated() -> tuple[Entry, ...]:
    """One entry per row."""
    return tuple(_entry(row) for row in ROWS)


def _entry(row: Row) -> Entry:
    name, op, inputs, attributes = row
    return Entry(f"generated/{name}", build(op, inputs, attributes), lambda seed: _draw(inputs, seed), smoke=name in SMOKE)


def build(op: str, inputs: tuple[Any, ...], attributes: Mapping[str, Any], domain: str = "") -> Graph:
    """The graph of one call, its inputs named i0, i1, ..., its outputs o0, o1, ...; integer arrays are constants."""
    b = Builder()
    with b.active():
        values: list[Any] = []
        for i, given in enumerate(inputs):
            if given is None:
                values.append(None)
            elif isinstance(given, tuple):
                shape = tuple(d for d in given if isinstance(d, int))
                values.append(b.input(f"i{i}", TensorSpec(shape)))
            elif np.asarray(given).dtype == bool:
                values.append(b.input(f"i{i}", TensorSpec(np.shape(given), "bool")))
            else:
                values.append(b.constant(given))
        count = {"LSTM": 3, "GRU": 2, "RNN": 2}.get(op, 1)
        for i, y in enumerate(b.ops(op, *values, outputs=count, domain=domain, **attributes)):
            b.output(f"o{i}", y)
        return b.finish()


def _draw(inputs: tuple[Any, ...], seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([seed, len(inputs)])
    feeds = {}
    for i, given in enumerate(inputs):
        if isinstance(given, tuple):
            shape = tuple(d for d in given if isinstance(d, int))
            x = rng.standard_normal(shape)
            if given[0] == "+":
                x = np.abs(x) + 0.1
            elif given[0] == "u":
                x = rng.uniform(-0.9, 0.9, shape)
            feeds[f"i{i}"] = x.astype(np.float32)
        elif given is not None and np.asarray(given).dtype == bool:
            feeds[f"i{i}"] = np.asarray(given)
    return feeds
