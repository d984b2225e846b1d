"""Operators that move elements, and those that write into tensors."""

from __future__ import annotations

import numpy as np

from polymodel_conformance.corpus.generated.row import Fed, Row, ints, row

_L = np.int64
_SHAPES: list[Row] = [
    row("transpose", "Transpose", (2, 3, 4, 5), perm=[3, 1, 0, 2], smoke=True),
    row("transpose_default", "Transpose", (2, 3, 4)),
    row("transpose_scalar", "Transpose", ()),
    row("reshape_inferred", "Reshape", (2, 3, 4), ints(0, -1)),
    row("reshape_empty", "Reshape", (2, 0, 3), ints(3, 0), allowzero=1),
    row("flatten_middle", "Flatten", (2, 3, 4, 5), axis=-2),
    row("flatten_first", "Flatten", (2, 3), axis=0),
    row("squeeze", "Squeeze", (1, 3, 1, 2), ints(0, -2)),
    row("squeeze_all", "Squeeze", (1, 3, 1)),
    row("unsqueeze", "Unsqueeze", (3, 2), ints(0, -1)),
    row("unsqueeze_scalar", "Unsqueeze", (), ints(0)),
    row("expand", "Expand", (3, 1), ints(2, 3, 4)),
    row("expand_scalar", "Expand", (), ints(2, 3)),
    row("expand_fed", "Expand", (3, 1), ints(3, 1)),
    row("tile", "Tile", (2, 3, 2), ints(2, 3, 2)),
    row("tile_once", "Tile", (2, 3), ints(1, 1)),
    row("tile_none", "Tile", (2, 3), ints(0, 2)),
    row("concat_three", "Concat", (2, 1, 3), (2, 4, 3), (2, 2, 3), axis=1),
    row("concat_negative", "Concat", (2, 3), (2, 5), axis=-1),
    row("concat_with_empty", "Concat", (0, 3), (2, 3), axis=0),
    row("split_sizes", "Split", (7, 3), ints(2, 0, 5), outputs=3, axis=0),
    row("split_uneven", "Split", (3, 7), outputs=3, axis=-1, num_outputs=3),
    row("depth_to_space", "DepthToSpace", (1, 8, 2, 3), blocksize=2, mode="CRD"),
    row("depth_to_space_dcr", "DepthToSpace", (2, 9, 2, 3), blocksize=3),
    row("space_to_depth", "SpaceToDepth", (2, 3, 4, 6), blocksize=2),
    row("trilu", "Trilu", (4, 5), upper=0),
    row("trilu_shifted", "Trilu", (2, 3, 5), np.array(-1, _L)),
    row("center_crop_pad", "CenterCropPad", (7, 4, 3), ints(4, 9, 3)),
    row("center_crop_pad_axes", "CenterCropPad", (3, 8, 5), ints(3, 8), axes=[-2, 2]),
]
_PADS: list[Row] = [
    row("pad_reflect", "Pad", (3, 5), ints(1, 2, 0, 3), mode="reflect", smoke=True),
    row("pad_edge", "Pad", (3, 5), ints(1, 2, 0, 3), mode="edge"),
    row("pad_wrap", "Pad", (3, 5), ints(1, 2, 2, 4), mode="wrap"),
    row("pad_crop", "Pad", (5, 6), ints(-1, 2, 1, -2), np.float32(1.5)),
    row("pad_value_fed", "Pad", (2, 3), ints(1, 0, 0, 2), ()),
    row("pad_axes", "Pad", (2, 3, 4), ints(1, 2, 2, 0), None, ints(-1, 0)),
    row("pad_empty", "Pad", (0, 3), ints(1, 0, 1, 0)),
]
_ELEMENTS = np.array([[[3, -1], [0, 0], [1, 2]], [[2, 2], [-4, 1], [0, 3]]], _L)
_SLICES: list[Row] = [
    row("slice_backwards", "Slice", (5, 7), ints(-1, 6), ints(-6, 0), ints(0, 1), ints(-2, -3)),
    row("slice_to_nothing", "Slice", (5, 7), ints(3), ints(3), ints(0)),
    row("slice_beyond", "Slice", (5, 7), ints(-100, 2), ints(100, 99), ints(0, -1), ints(1, 2)),
    row("slice_reversed", "Slice", (4,), ints(-1), ints(-(2**31)), ints(0), ints(-1)),
    row("gather_negative", "Gather", (5, 4), np.array([[0, -1, 2], [2, 2, -5]], _L), smoke=True),
    row("gather_fed", "Gather", (3, 5), Fed(np.array([4, 0, 0, -2], np.int32)), axis=1),
    row("gather_scalar", "Gather", (3, 5), np.array(-1, _L), axis=-1),
    row("gather_nothing", "Gather", (3, 5), np.zeros((0, 2), _L)),
    row("gather_elements", "GatherElements", (3, 4), np.array([[0, -1, 2, 2], [1, 1, 0, -3]], _L), axis=0),
    row("gather_elements_fed", "GatherElements", (2, 3, 4), Fed(_ELEMENTS), axis=-1),
    row("gather_nd", "GatherND", (3, 4, 2), np.array([[0, 1], [2, -1]], _L)),
    row("gather_nd_batch", "GatherND", (2, 3, 4), Fed(np.array([[[1], [1]], [[-1], [0]]], _L)), batch_dims=1),
    row("compress", "Compress", (3, 4), np.array([False, True, True]), axis=0),
    row("compress_flat", "Compress", (2, 3), np.array([True, False, False, True, True])),
    row("one_hot_values", "OneHot", Fed(np.array([1, -1, 5], _L)), np.array(4, _L), (2,), axis=0),
    row("reverse_sequence", "ReverseSequence", (5, 3, 2), Fed(np.array([5, 1, 3], _L))),
    row("reverse_sequence_batch_first", "ReverseSequence", (3, 4), Fed(np.array([4, 2, 1], _L)), batch_axis=0, time_axis=1),
]
_TWICE = np.array([[0, 2, 0, -1], [0, 2, 1, 2]], _L)
_PLACES = np.array([[1], [3], [-1], [1]], _L)
_WRITES: list[Row] = [
    row("scatter_elements", "ScatterElements", (3, 4), np.array([[2, 0, 1], [0, 1, -1]], _L), (2, 3)),
    row("scatter_elements_add", "ScatterElements", (3, 4), np.array([[0, 2, 0, 1]], _L), (1, 4), reduction="add"),
    *[
        row(f"scatter_elements_{how}_twice", "ScatterElements", (3, 4), _TWICE, (2, 4), reduction=how)
        for how in ("add", "mul", "max", "min")
    ],
    row("scatter_elements_axis", "ScatterElements", (2, 5, 3), Fed(np.array([[[4], [0]], [[-2], [1]]], _L)), (2, 2, 1), axis=-2),
    row("scatter_nd", "ScatterND", (4, 5), np.array([[0], [2]], _L), (2, 5)),
    row("scatter_nd_elements", "ScatterND", (4, 5), Fed(np.array([[0, 1], [3, -1], [2, 2]], _L)), (3,)),
    *[
        row(f"scatter_nd_{how}_twice", "ScatterND", (4, 3), _PLACES, (4, 3), reduction=how)
        for how in ("add", "mul", "max", "min")
    ],
    row("scatter", "Scatter", (3, 4), np.array([[2, 0, 1], [0, 1, 2]], _L), (2, 3), opset=10),
    row("scatter_axis", "Scatter", (2, 5, 3), Fed(np.array([[[4], [0]], [[3], [1]]], _L)), (2, 2, 1), opset=10, axis=1),
    row("tensor_scatter", "TensorScatter", (2, 3, 5, 2), (2, 3, 2, 2), Fed(np.array([1, 3], _L))),
    row("tensor_scatter_circular", "TensorScatter", (2, 5, 3), (2, 4, 3), Fed(np.array([4, 2], _L)), mode="circular"),
    row("tensor_scatter_axis", "TensorScatter", (2, 3, 4), (2, 3, 1), axis=-1),
]

_MANY = np.arange(300).reshape(60, 5) ** 2 % 3  # a sum of so many halves has to be gathered wide
_REPEATED: list[Row] = [
    row("gather_many", "Gather", (3, 5), _MANY[:, 0]),
    row("gather_many_columns", "Gather", (5, 3), _MANY[:, 0], axis=1),
    row("gather_elements_many", "GatherElements", (3, 5), _MANY, axis=0),
    row("one_hot_many", "OneHot", Fed(_MANY[:, 0]), np.array(4, _L), (2,)),
    row("gather_nd_many", "GatherND", (3, 3, 2), _MANY[:, :2]),
    row("pad_edge_wide", "Pad", (3, 5), ints(9, 12, 9, 13), mode="edge"),
    row("expand_many", "Expand", (1, 5), ints(60, 5)),
    row("scatter_elements_add_many", "ScatterElements", (3, 5), _MANY, (60, 5), reduction="add"),
    row("scatter_nd_add_many", "ScatterND", (3, 5), _MANY[:, :1], (60, 5), reduction="add"),
]

ROWS = [*_SHAPES, *_PADS, *_SLICES, *_WRITES, *_REPEATED]
