"""Normalizations."""

from __future__ import annotations

from polymodel_conformance.corpus.generated.row import Row, positive, row

_BN = ((3, 4, 5, 2), positive(4), (4,), (4,), positive(4))
ROWS: list[Row] = [
    row("layernorm", "LayerNormalization", (3, 4, 37), positive(37), (37,), epsilon=1e-5, smoke=True),
    row("layernorm_two_axes", "LayerNormalization", (3, 5, 7), positive(5, 7), (5, 7), axis=1),
    row("layernorm_statistics", "LayerNormalization", (3, 4, 7), positive(7), (7,), outputs=3),
    row("layernorm_all_axes", "LayerNormalization", (3, 5), positive(3, 5), axis=0, epsilon=1e-2),
    row("layernorm_batch_of_none", "LayerNormalization", (0, 5), positive(5), (5,)),
    row("instancenorm", "InstanceNormalization", (2, 3, 7, 5), positive(3), (3,)),
    row("instancenorm_1d", "InstanceNormalization", (2, 3, 7), positive(3), (3,), epsilon=1e-3),
    row("rmsnorm", "RMSNormalization", (3, 37), positive(37)),
    row("rmsnorm_two_axes", "RMSNormalization", (3, 5, 7), positive(5, 7), axis=-2, epsilon=1e-3),
    row("groupnorm", "GroupNormalization", (2, 6, 5, 3), positive(6), (6,), num_groups=3),
    row("groupnorm_1d", "GroupNormalization", (2, 4, 7), positive(4), (4,), num_groups=1, epsilon=1e-3),
    row("groupnorm_each_channel", "GroupNormalization", (2, 4, 3, 3), positive(4), (4,), num_groups=4),
    row("batchnorm_eval", "BatchNormalization", *_BN, epsilon=1e-3),
    row("batchnorm_eval_2d", "BatchNormalization", (7, 4), positive(4), (4,), (4,), positive(4)),
    row("batchnorm_train", "BatchNormalization", *_BN, outputs=3, training_mode=1, momentum=0.7),
    row("batchnorm_train_1d", "BatchNormalization", (5, 3, 4), positive(3), (3,), (3,), positive(3), outputs=3, training_mode=1),
    row("lrn", "LRN", (2, 7, 4, 3), size=3),
    row("lrn_even", "LRN", (1, 5, 2, 3), size=4, alpha=0.3, beta=0.6, bias=1.5),
    row("lrn_wide", "LRN", (1, 3, 4), size=7, alpha=0.1),
    row("lpnorm", "LpNormalization", (4, 9), axis=1, p=2),
    row("lpnorm_one", "LpNormalization", (4, 9, 2), axis=-2, p=1),
    row("mvn", "MeanVarianceNormalization", (3, 4, 5, 2)),
    row("mvn_axes", "MeanVarianceNormalization", (3, 4, 5), axes=[1, 2]),
]
