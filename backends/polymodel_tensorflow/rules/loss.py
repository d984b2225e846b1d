"""Losses."""

from __future__ import annotations

from typing import Any

from polymodel.plan import Node
from polymodel_tensorflow.compat import tf
from polymodel_tensorflow.rules.table import TABLE


def _classes_last(x: Any) -> Any:
    """(N, C, d...) as (N, d..., C)."""
    rank = len(x.shape)
    return x if rank == 2 else tf.transpose(x, [0, *range(2, rank), 1])


def _classes_second(x: Any) -> Any:
    rank = len(x.shape)
    return x if rank == 2 else tf.transpose(x, [0, rank - 1, *range(1, rank - 1)])


@TABLE.rule("SoftmaxCrossEntropyLoss", since=12)
def softmax_cross_entropy_loss(node: Node, scores: Any, labels: Any, weights: Any = None) -> Any:
    logits = _classes_last(scores)
    safe, kept = _kept(node, labels)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(safe, logits)
    loss = _reduced(node, losses, safe, kept, weights)
    if not node.has_output(1):
        return loss
    return loss, _classes_second(tf.nn.log_softmax(logits))


@TABLE.rule("NegativeLogLikelihoodLoss", since=12)
def negative_log_likelihood_loss(node: Node, scores: Any, labels: Any, weights: Any = None) -> Any:
    safe, kept = _kept(node, labels)
    table = _classes_last(scores)
    losses = -tf.gather(table, safe, batch_dims=len(table.shape) - 1)
    return _reduced(node, losses, safe, kept, weights)


def _kept(node: Node, labels: Any) -> tuple[Any, Any]:
    """Labels with ignored ones replaced by class 0, and which are kept (None when all are)."""
    ignored = node.attr("ignore_index")
    if ignored is None:
        return labels, None
    kept = tf.not_equal(labels, tf.cast(int(ignored), labels.dtype))
    return tf.where(kept, labels, tf.zeros_like(labels)), kept


def _reduced(node: Node, losses: Any, labels: Any, kept: Any, weights: Any) -> Any:
    reduction, factor = node.attr("reduction"), None
    if weights is not None:
        factor = tf.gather(weights, labels)
        if kept is not None:
            factor = tf.where(kept, factor, tf.zeros_like(factor))
        losses = losses * factor
    elif kept is not None:
        factor = tf.cast(kept, losses.dtype)
        losses = tf.where(kept, losses, tf.zeros_like(losses))
    if reduction == "none":
        return losses
    if reduction == "sum":
        return tf.reduce_sum(losses)
    return tf.reduce_mean(losses) if factor is None else tf.reduce_sum(losses) / tf.reduce_sum(factor)
