"""Losses; one with weights of classes runs as the function of other operators that the standard gives."""

from typing import Any

import numpy as np

from polymodel.plan import Node
from polymodel_numpy.rules.reduction import log_probabilities
from polymodel_numpy.rules.table import TABLE


def _unweighted(node: Node) -> bool:
    return not node.has_input(2)


@TABLE.rule("NegativeLogLikelihoodLoss", since=13, when=_unweighted)
def negative_log_likelihood(node: Node, log_prob: Any, labels: Any) -> Any:
    used = labels != node.attr("ignore_index") if node.attr("ignore_index") is not None else np.ones_like(labels, bool)
    places = np.where(used, labels, 0)[:, None].astype(np.int64)
    each = np.where(used, -np.take_along_axis(log_prob, places, 1)[:, 0], 0)
    reduction = node.attr("reduction")
    share = used / used.sum() if reduction == "mean" else used.astype(np.float64)

    def pull(g: Any) -> Any:
        found = np.zeros(log_prob.shape)
        np.put_along_axis(found, places, -(g * share)[:, None], 1)
        return (found,)

    if reduction == "none":
        return each, pull
    loss = each.sum(dtype=np.float64)
    return loss / used.sum() if reduction == "mean" else loss, pull


@TABLE.rule("SoftmaxCrossEntropyLoss", since=13, when=_unweighted)
def softmax_cross_entropy(node: Node, scores: Any, labels: Any) -> Any:
    log_prob, to_scores = log_probabilities(scores, 1)
    loss, to_log_prob = negative_log_likelihood(node, log_prob, labels)
    return (loss, log_prob), lambda g, h=0: to_scores(to_log_prob(g)[0] + h)
