"""Matrix products, einsum, convolutions."""

from __future__ import annotations

from polymodel_conformance.corpus.generated.row import Row, row

_MATRICES: list[Row] = [
    row("matmul_2d", "MatMul", (7, 33), (33, 5), smoke=True),
    row("matmul_broadcast", "MatMul", (5, 1, 2, 3), (4, 3, 2)),
    row("matmul_vector", "MatMul", (3, 4, 9), (9,)),
    row("matmul_vector_left", "MatMul", (9,), (3, 9, 4)),
    row("matmul_two_vectors", "MatMul", (9,), (9,)),
    row("matmul_long", "MatMul", (4, 4099), (4099, 3)),
    row("matmul_batch_of_none", "MatMul", (0, 3, 4), (4, 2)),
    row("matmul_nothing_to_sum", "MatMul", (3, 0), (0, 2)),
    row("gemm_transposed", "Gemm", (9, 7), (5, 9), (5,), transA=1, transB=1, alpha=0.5, beta=2.0),
    row("gemm_linear", "Gemm", (13, 129), (17, 129), (17,), transB=1, smoke=True),
    row("gemm_column", "Gemm", (4, 6), (6, 5), (4, 1)),
    row("gemm_scalar", "Gemm", (4, 6), (6, 5), ()),
    row("gemm_no_bias", "Gemm", (4, 6), (6, 5), alpha=0.25),
    row("gemm_batch_of_none", "Gemm", (0, 6), (5, 6), (5,), transB=1),
    row("einsum_batch", "Einsum", (3, 4, 5), (3, 5, 6), equation="bij,bjk->bik"),
    row("einsum_outer", "Einsum", (4,), (5,), equation="i,j->ij"),
    row("einsum_ellipsis", "Einsum", (2, 1, 3, 4), (2, 5, 4, 2), equation="...ij,...jk->...ik"),
    row("einsum_implicit", "Einsum", (3, 4), (4, 5), equation="ij,jk"),
    row("einsum_trace", "Einsum", (4, 4), equation="ii"),
    row("einsum_diagonal", "Einsum", (3, 4, 4), equation="bii->bi"),
    row("einsum_three", "Einsum", (3, 4), (4, 5), (5, 2), equation="ij,jk,kl->li"),
    row("einsum_sum_away", "Einsum", (3, 4), equation="ij->j"),
    row("einsum_transposed", "Einsum", (2, 3, 4), equation="bij->jib"),
    row("det", "Det", (4, 4)),
    row("det_batch", "Det", (2, 3, 3, 3)),
    row("det_one", "Det", (3, 1, 1)),
]

_CONVOLUTIONS: list[Row] = [
    row("conv_1d", "Conv", (2, 3, 17), (5, 3, 4), (5,), strides=[3], pads=[2, 1], dilations=[2]),
    row("conv_odd", "Conv", (2, 4, 11, 9), (6, 4, 3, 5), (6,), strides=[2, 3], pads=[1, 2, 0, 1], smoke=True),
    row("conv_groups", "Conv", (2, 6, 9, 8), (4, 3, 3, 3), group=2, pads=[1, 1, 1, 1]),
    row("conv_depthwise", "Conv", (2, 5, 8, 7), (10, 1, 3, 3), (10,), group=5, dilations=[2, 1]),
    row("conv_same_upper", "Conv", (1, 3, 7, 8), (4, 3, 4, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    row("conv_same_lower", "Conv", (1, 3, 7, 8), (4, 3, 4, 3), auto_pad="SAME_LOWER", strides=[2, 2]),
    row("conv_valid", "Conv", (1, 3, 8, 7), (4, 3, 3, 2), auto_pad="VALID", strides=[1, 2]),
    row("conv_3d", "Conv", (1, 2, 5, 6, 7), (3, 2, 2, 3, 3), strides=[1, 2, 1], pads=[0, 1, 1, 1, 0, 1]),
    row("conv_3d_groups", "Conv", (2, 4, 4, 5, 3), (4, 2, 2, 2, 2), (4,), group=2, dilations=[1, 2, 1]),
    row("conv_1x1_strided", "Conv", (2, 5, 7, 6), (3, 5, 1, 1), strides=[2, 3]),
    row("conv_wide_padding", "Conv", (1, 2, 4, 3), (3, 2, 3, 3), pads=[3, 0, 2, 4]),
    row("conv_batch_of_none", "Conv", (0, 3, 6, 5), (2, 3, 3, 3), (2,), pads=[1, 1, 1, 1]),
    row("deconv", "ConvTranspose", (2, 4, 5, 6), (4, 3, 3, 4), (3,), strides=[2, 3], pads=[1, 0, 1, 2], output_padding=[1, 1]),
    row("deconv_groups", "ConvTranspose", (1, 4, 5), (4, 2, 3), strides=[2], group=2, dilations=[2]),
    row("deconv_same", "ConvTranspose", (1, 2, 5, 4), (2, 3, 3, 2), auto_pad="SAME_UPPER", strides=[2, 2]),
    row("deconv_same_lower", "ConvTranspose", (1, 2, 5, 4), (2, 3, 3, 2), auto_pad="SAME_LOWER", strides=[2, 2]),
    row("deconv_output_shape", "ConvTranspose", (1, 2, 4, 3), (2, 3, 3, 3), strides=[3, 2], output_shape=[11, 8]),
    row("deconv_3d", "ConvTranspose", (1, 2, 3, 2, 4), (2, 2, 2, 3, 2), (2,), strides=[2, 1, 2], pads=[0, 1, 1, 1, 0, 0]),
    row("deconv_depthwise", "ConvTranspose", (2, 3, 4, 5), (3, 1, 3, 3), (3,), group=3, strides=[2, 2], pads=[1, 1, 0, 1]),
    row("deconv_batch_of_none", "ConvTranspose", (0, 2, 4, 3), (2, 3, 3, 3)),
]

ROWS = [*_MATRICES, *_CONVOLUTIONS]
