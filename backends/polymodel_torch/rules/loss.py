"""Losses of the standard."""

from __future__ import annotations

from typing import Any

from polymodel.plan import Node
from polymodel_torch.compat import torch
from polymodel_torch.rules.table import TABLE, leaf


@TABLE.rule("SoftmaxCrossEntropyLoss", since=13)
def softmax_cross_entropy(node: Node, scores: Any, labels: Any, weight: Any = None) -> Any:
    log_prob = torch.log_softmax(scores, 1)
    return _nll(log_prob, labels, weight, node.attr("ignore_index"), node.attr("reduction")), log_prob


@TABLE.rule("NegativeLogLikelihoodLoss", since=13)
def negative_log_likelihood(node: Node, log_prob: Any, labels: Any, weight: Any = None) -> Any:
    return _nll(log_prob, labels, weight, node.attr("ignore_index"), node.attr("reduction"))


_REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}


@leaf
def _nll(
    log_prob: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor | None, ignore: int | None, reduction: str
) -> torch.Tensor:
    """Mean, sum or each of -weight[label] * log_prob[label]; the mean divides by the sum of the weights used.

    Where every label is ignored the mean is 0/0 = NaN, as in the standard's function body.
    """
    labels = labels.to(torch.int64)
    ignored = -100 if ignore is None else int(ignore)
    if weight is not None and weight.requires_grad:
        return _weighted(log_prob, labels, weight, ignored, reduction)
    if log_prob.dim() == 2:
        return torch._C._nn.nll_loss_nd(log_prob, labels, weight, _REDUCTIONS[reduction], ignored)
    classes = log_prob.shape[1]
    rows = log_prob.movedim(1, -1).reshape(-1, classes)
    loss = torch._C._nn.nll_loss_nd(rows, labels.reshape(-1), weight, _REDUCTIONS[reduction], ignored)
    return loss.reshape(labels.shape) if reduction == "none" else loss


def _weighted(
    log_prob: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor, ignored: int, reduction: str
) -> torch.Tensor:
    """The same written out, for when a derivative by the weight is wanted too: torch's kernel has none."""
    used = labels != ignored
    safe = torch.where(used, labels, torch.zeros_like(labels))
    share = torch.where(used, weight[safe], torch.zeros((), dtype=weight.dtype, device=weight.device))
    loss = -log_prob.gather(1, safe.unsqueeze(1)).squeeze(1) * share
    if reduction == "none":
        return loss
    return loss.sum() / share.sum() if reduction == "mean" else loss.sum()
