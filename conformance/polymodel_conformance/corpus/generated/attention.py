"""Softmax, the losses on top of it, attention and what belongs to it."""

from __future__ import annotations

import numpy as np

from polymodel_conformance.corpus.generated.row import Fed, Row, positive, row, unit

_L = np.int64
_SOFTMAX: list[Row] = [
    row("softmax_middle", "Softmax", (3, 7, 5), axis=1, smoke=True),
    row("softmax_long", "Softmax", (3, 1027)),
    row("softmax_negative", "Softmax", (2, 3, 4), axis=-3),
    row("softmax_one", "Softmax", (5, 1)),
    row("softmax_batch_of_none", "Softmax", (0, 4)),
    row("logsoftmax_first", "LogSoftmax", (9, 4), axis=0),
    row("logsoftmax_last", "LogSoftmax", (2, 3, 11)),
    row("logsoftmax_batch_of_none", "LogSoftmax", (0, 4)),
]
_LABELS = np.array([0, 4, 2, -1, 3, 1], _L)
_GRID = np.array([[0, 3, 1], [2, 2, 0]], _L)
_LOSSES: list[Row] = [
    row("loss_weighted", "SoftmaxCrossEntropyLoss", (6, 5), _LABELS, positive(5), ignore_index=-1),
    row("loss_spatial", "SoftmaxCrossEntropyLoss", (2, 4, 3), _GRID, reduction="sum"),
    row("loss_with_scores", "SoftmaxCrossEntropyLoss", (3, 5), Fed(np.array([4, 0, 2], _L)), outputs=2),
    row("loss_none", "SoftmaxCrossEntropyLoss", (2, 4, 3), Fed(_GRID), positive(4), reduction="none"),
    row("loss_ignored_positive", "SoftmaxCrossEntropyLoss", (2, 4, 3), _GRID, ignore_index=2),
    row("loss_batch_of_one", "SoftmaxCrossEntropyLoss", (1, 3), np.array([2], np.int32)),
    row("nll", "NegativeLogLikelihoodLoss", (3, 5), np.array([4, 0, 2], _L), positive(5)),
    row("nll_spatial", "NegativeLogLikelihoodLoss", (2, 4, 3), Fed(_GRID), reduction="none"),
    row("nll_ignored", "NegativeLogLikelihoodLoss", (6, 5), _LABELS, ignore_index=-1, reduction="sum"),
]

_MASK = np.array([[True, True, False, True, False], [True, False, True, True, True], [False, True, True, False, True]])
_SCORES = (True, False, False, True)
_QKV = ((2, 2, 3, 6), (2, 2, 5, 6), (2, 2, 5, 4))
_ATTENTION: list[Row] = [
    row("attention", "Attention", (2, 3, 5, 8), (2, 3, 7, 8), (2, 3, 7, 6), smoke=True),
    row("attention_causal_grouped", "Attention", (1, 5, 24), (1, 5, 12), (1, 5, 12), q_num_heads=4, kv_num_heads=2, is_causal=1),
    row("attention_masked", "Attention", (1, 2, 4, 8), (1, 2, 4, 8), (1, 2, 4, 8), np.tri(4).astype(bool), softcap=2.0),
    row("attention_mask_added", "Attention", *_QKV, (2, 1, 3, 5), scale=0.3),
    row("attention_mask_per_head", "Attention", *_QKV, (2, 3, 5)),
    row("attention_mask_short", "Attention", *_QKV, _MASK[:, :4]),
    row("attention_causal_wide", "Attention", *_QKV, is_causal=1),
    row("attention_row_sees_nothing", "Attention", *_QKV, _MASK & np.array([[True], [False], [True]])),
    row("attention_past", "Attention", (1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 5), None, (1, 2, 2, 4), (1, 2, 2, 5), outputs=3,
        is_causal=1),
    row("attention_scores_raw", "Attention", *_QKV, (3, 5), outputs=_SCORES, qk_matmul_output_mode=0),
    row("attention_scores_capped", "Attention", *_QKV, (3, 5), outputs=_SCORES, qk_matmul_output_mode=1, softcap=1.5),
    row("attention_scores_biased", "Attention", *_QKV, (3, 5), outputs=_SCORES, qk_matmul_output_mode=2),
    row("attention_weights", "Attention", *_QKV, _MASK, outputs=_SCORES, qk_matmul_output_mode=3),
    row("attention_precise_softmax", "Attention", *_QKV, softmax_precision=1, double=False),
    row("attention_one_query", "Attention", (3, 1, 8), (3, 6, 8), (3, 6, 4), q_num_heads=2, kv_num_heads=2),
    row("attention_valid_keys", "Attention", *_QKV, None, None, None, Fed(np.array([4, 3], _L)), opset=24),
    row("attention_valid_keys_causal", "Attention", *_QKV, None, None, None, Fed(np.array([4, 5], _L)), opset=24, is_causal=1),
    row("attention_window_left", "Attention", *_QKV, opset=25, left_window_size=1, is_causal=1),
    row("attention_window_both", "Attention", (1, 2, 5, 4), (1, 2, 6, 4), (1, 2, 6, 4), opset=25, left_window_size=2,
        right_window_size=1),
]

_ROTARY: list[Row] = [
    row("rotary", "RotaryEmbedding", (2, 3, 4, 6), unit(2, 4, 3), unit(2, 4, 3)),
    row("rotary_interleaved", "RotaryEmbedding", (2, 4, 12), unit(9, 2), unit(9, 2), np.array([[0, 3, 8, 1], [2, 2, 5, 4]], _L),
        num_heads=3, interleaved=1),
    row("rotary_partial", "RotaryEmbedding", (1, 2, 3, 8), unit(5, 2), unit(5, 2), np.array([[4, 0, 2]], _L),
        rotary_embedding_dim=4),
]

ROWS = [*_SOFTMAX, *_LOSSES, *_ATTENTION, *_ROTARY]
