"""Losses."""

from __future__ import annotations

import numpy as np

from polymodel.plan import Node
from polymodel_conformance.oracle import primitives as p
from polymodel_conformance.oracle.reduction import log_softmax
from polymodel_conformance.oracle.table import ORACLE
from polymodel_conformance.oracle.tape import Value


def _negative_log_likelihood(node: Node, logp: Value, target: Value, weight: Value | None) -> Value:
    labels, ignored = target.array.astype(np.int64), node.attr("ignore_index")
    live = np.ones(labels.shape, bool) if ignored is None else labels != ignored
    safe = np.where(live, labels, 0)
    flat = np.take_along_axis(np.arange(logp.array.size).reshape(logp.shape), safe[:, None], 1)[:, 0]
    terms = p.neg(p.take(logp, flat))
    if weight is not None:
        rate = p.where(live, p.take(weight, safe), 0.0)
    else:
        rate = logp.tape.value(live.astype(np.float64))
    terms = p.mul(p.where(live, terms, 0.0), rate)
    if node.attr("reduction") == "none":
        return terms
    total = p.total(terms)
    return total if node.attr("reduction") == "sum" else p.div(total, p.total(rate))


@ORACLE.rule("SoftmaxCrossEntropyLoss", since=12)
def _cross_entropy(node: Node, scores: Value, labels: Value, weight: Value | None = None) -> tuple[Value, Value]:
    logp = log_softmax(scores, 1)
    return _negative_log_likelihood(node, logp, labels, weight), logp


@ORACLE.rule("NegativeLogLikelihoodLoss", since=12)
def _nll(node: Node, logp: Value, target: Value, weight: Value | None = None) -> Value:
    return _negative_log_likelihood(node, logp, target, weight)
