"""Losses over class indices: SoftmaxCrossEntropyLoss and NegativeLogLikelihoodLoss.

Class indices are int32 or int64; where the target is `ignore_index` the loss and its weight are 0. MXNet reads an
index outside the classes as the nearest class, silently; labels are checked where batches are made.
"""

from __future__ import annotations

import numpy as np

from polymodel.plan import Node
from polymodel_mxnet.rules.elementwise import log_softmax_of
from polymodel_mxnet.rules.table import TABLE
from polymodel_mxnet.symbols import Symbol, constant, mean, op, reshape, select, total, transpose


@TABLE.rule("SoftmaxCrossEntropyLoss", since=12)
def softmax_cross_entropy(
    node: Node, scores: Symbol, labels: Symbol, weights: Symbol = None
) -> tuple[Symbol, Symbol | None]:
    log_prob = log_softmax_of(scores, 1)
    return _negative_log_likelihood(node, log_prob, labels, weights), log_prob


@TABLE.rule("NegativeLogLikelihoodLoss", since=12)
def negative_log_likelihood(node: Node, scores: Symbol, labels: Symbol, weights: Symbol = None) -> Symbol:
    return _negative_log_likelihood(node, scores, labels, weights)


def _negative_log_likelihood(node: Node, log_prob: Symbol, labels: Symbol, weights: Symbol | None) -> Symbol:
    kind, reduction = node.dtype(), node.attr("reduction")
    if 0 in node.shape(1):
        return constant(np.full((), np.nan if reduction == "mean" else 0, kind))
    ignore = node.attr("ignore_index")
    masked = ignore is not None
    shape = node.shape(1)
    log_prob, labels = _flat(node, log_prob, labels)
    used = labels != int(ignore) if masked else None
    index = select(used, labels, 0, node.dtype(1)) if masked else labels
    loss = -op("_npx_pick", log_prob, index, axis=1)
    weight = None
    if weights is not None:
        weight = op("_npi_take", weights, index, axis=0, mode="clip")
        loss = loss * weight
    if masked:
        loss = select(used, loss, 0.0, kind)
        share = op("_npi_cast", used, dtype=kind)
        weight = share if weight is None else weight * share
    if reduction == "none":
        return reshape(loss, shape)
    if reduction == "sum":
        return total(loss, (0,), False)
    return mean(loss, (0,), False) if weight is None else total(loss, (0,), False) / total(weight, (0,), False)


def _flat(node: Node, log_prob: Symbol, labels: Symbol) -> tuple[Symbol, Symbol]:
    """Log probabilities as (samples, classes) and labels as (samples,)."""
    if node.rank() == 2:
        return log_prob, labels
    batch, classes, *rest = node.shape()
    count = int(np.prod(rest))
    rows = transpose(reshape(log_prob, (batch, classes, count)), (0, 2, 1))
    return reshape(rows, (batch * count, classes)), reshape(labels, (batch * count,))
