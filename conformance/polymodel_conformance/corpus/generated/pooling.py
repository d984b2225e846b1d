"""Pooling and its inverse."""

from __future__ import annotations

import numpy as np

from polymodel_conformance.corpus.generated.row import Row, ints, row

ROWS: list[Row] = [
    row("maxpool_odd", "MaxPool", (2, 3, 11, 9), kernel_shape=[3, 2], strides=[2, 3], pads=[1, 0, 0, 1], smoke=True),
    row("maxpool_ceil", "MaxPool", (1, 2, 10, 7), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    row("maxpool_dilated", "MaxPool", (1, 2, 9, 9), kernel_shape=[2, 3], dilations=[3, 2]),
    row("maxpool_1d", "MaxPool", (2, 3, 11), kernel_shape=[4], strides=[3], pads=[2, 1]),
    row("maxpool_3d", "MaxPool", (1, 2, 5, 6, 7), kernel_shape=[2, 3, 2], strides=[2, 1, 3], pads=[0, 1, 0, 1, 1, 1]),
    row("maxpool_same", "MaxPool", (1, 2, 8, 7), kernel_shape=[3, 4], strides=[2, 3], auto_pad="SAME_LOWER"),
    row("maxpool_indices", "MaxPool", (2, 3, 7, 6), outputs=2, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0]),
    row("maxpool_indices_by_column", "MaxPool", (1, 2, 5, 6), outputs=2, kernel_shape=[2, 2], storage_order=1),
    row("maxpool_batch_of_none", "MaxPool", (0, 3, 6, 5), kernel_shape=[2, 2]),
    row("avgpool_odd", "AveragePool", (2, 3, 11, 9), kernel_shape=[3, 2], strides=[2, 3], pads=[1, 0, 0, 1], smoke=True),
    row("avgpool_counted", "AveragePool", (2, 3, 8, 9), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 1],
        count_include_pad=1),
    row("avgpool_ceil", "AveragePool", (1, 2, 10, 7), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    row("avgpool_ceil_counted", "AveragePool", (1, 2, 10, 7), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1,
        pads=[1, 0, 0, 1], count_include_pad=1),
    row("avgpool_same", "AveragePool", (1, 2, 8, 7), kernel_shape=[3, 4], strides=[2, 3], auto_pad="SAME_UPPER"),
    row("avgpool_same_lower", "AveragePool", (1, 2, 8, 7), kernel_shape=[3, 4], strides=[2, 3], auto_pad="SAME_LOWER"),
    row("avgpool_dilated", "AveragePool", (1, 2, 9, 8), kernel_shape=[2, 3], dilations=[3, 2], strides=[1, 2]),
    row("avgpool_1d", "AveragePool", (2, 3, 11), kernel_shape=[4], strides=[3], pads=[2, 1]),
    row("avgpool_3d", "AveragePool", (1, 2, 5, 6, 7), kernel_shape=[2, 3, 2], strides=[2, 1, 3], pads=[0, 1, 0, 1, 1, 1]),
    row("avgpool_batch_of_none", "AveragePool", (0, 3, 6, 5), kernel_shape=[2, 2]),
    row("lppool", "LpPool", (2, 3, 8, 7), kernel_shape=[3, 2], strides=[2, 3], pads=[1, 0, 0, 1], p=2),
    row("lppool_one", "LpPool", (2, 3, 9), kernel_shape=[3], strides=[2], p=1),
    row("lppool_three", "LpPool", (1, 2, 7, 6), kernel_shape=[2, 3], p=3, ceil_mode=1, strides=[2, 2]),
    row("lppool_dilated", "LpPool", (1, 2, 9, 8), kernel_shape=[2, 3], dilations=[3, 2], p=2),
    row("global_average", "GlobalAveragePool", (2, 3, 7, 5)),
    row("global_average_1d", "GlobalAveragePool", (2, 3, 7)),
    row("global_max", "GlobalMaxPool", (2, 3, 7, 5)),
    row("global_max_3d", "GlobalMaxPool", (1, 2, 3, 4, 5)),
    row("global_lp", "GlobalLpPool", (2, 3, 7, 5)),
    row("global_lp_three", "GlobalLpPool", (2, 3, 4), p=3),
    row("maxunpool", "MaxUnpool", (1, 2, 2, 2), np.array([[[[5, 7], [13, 14]], [[16, 19], [25, 31]]]]), kernel_shape=[2, 2],
        strides=[2, 2]),
    row("maxunpool_1d", "MaxUnpool", (2, 1, 3), np.array([[[0, 3, 6]], [[8, 9, 12]]]), kernel_shape=[3], strides=[2]),
    row("maxunpool_padded", "MaxUnpool", (1, 1, 2, 3), np.array([[[[1, 3, 4], [5, 8, 9]]]]), kernel_shape=[2, 2],
        strides=[2, 2], pads=[1, 0, 1, 1]),
    row("col2im", "Col2Im", (2, 12, 12), ints(5, 4), ints(2, 2)),
    row("col2im_overlapping", "Col2Im", (1, 18, 12), ints(7, 5), ints(3, 2), strides=[2, 1], pads=[1, 0, 0, 0]),
    row("col2im_dilated", "Col2Im", (2, 4, 9), ints(5, 6), ints(2, 2), dilations=[2, 3]),
    row("col2im_3d", "Col2Im", (1, 16, 12), ints(3, 4, 3), ints(2, 2, 2)),
    row("col2im_1d", "Col2Im", (2, 6, 4), ints(7), ints(3), strides=[2], pads=[1, 1]),
]
