"""Normalisations, each written out with sums, so that the noise model reaches inside them."""

from __future__ import annotations

import math

import numpy as np

from polymodel.plan import Node
from polymodel_conformance.oracle import primitives as p
from polymodel_conformance.oracle.convolution import per_channel
from polymodel_conformance.oracle.curves import CURVES
from polymodel_conformance.oracle.reduction import absolute
from polymodel_conformance.oracle.table import ORACLE
from polymodel_conformance.oracle.tape import Value


def _inverse_root(x: Value, eps: float) -> Value:
    return p.unary(p.unary(p.add(x, eps), *CURVES["Sqrt"]), *CURVES["Reciprocal"])


def _standardized(x: Value, axes: tuple[int, ...], eps: float) -> tuple[Value, Value, Value, Value]:
    """(x - mean) / sqrt(var + eps), mean, biased variance, 1 / sqrt(var + eps); statistics keep their axes."""
    mean = p.mean(x, axes, True)
    centred = p.sub(x, mean)
    var = p.mean(p.mul(centred, centred), axes, True)
    inv = _inverse_root(var, eps)
    return p.mul(centred, inv), mean, var, inv


@ORACLE.rule("BatchNormalization", since=14)
def _batch_norm(
    node: Node, x: Value, scale: Value, bias: Value, mean: Value, var: Value
) -> tuple[Value, Value, Value] | Value:
    eps, keep, r = node.attr("epsilon"), node.attr("momentum"), x.ndim
    if not node.attr("training_mode"):
        centred = p.sub(x, per_channel(mean, r))
        normal = p.mul(centred, per_channel(_inverse_root(var, eps), r))
        return p.add(p.mul(normal, per_channel(scale, r)), per_channel(bias, r))
    normal, m, v, _ = _standardized(x, (0, *range(2, r)), eps)
    y = p.add(p.mul(normal, per_channel(scale, r)), per_channel(bias, r))
    fresh = [
        p.add(p.mul(old, keep), p.mul(p.reshape(new, old.shape), 1.0 - keep)) for old, new in ((mean, m), (var, v))
    ]
    return y, fresh[0], fresh[1]


@ORACLE.rule("LayerNormalization", since=17)
def _layer_norm(node: Node, x: Value, scale: Value, bias: Value | None = None) -> tuple[Value, Value, Value]:
    axes = tuple(range(node.axis(), x.ndim))
    normal, mean, _, inv = _standardized(x, axes, node.attr("epsilon"))
    y = p.mul(normal, scale)
    return (y if bias is None else p.add(y, bias)), mean, inv


@ORACLE.rule("RMSNormalization", since=23)
def _rms_norm(node: Node, x: Value, scale: Value) -> Value:
    axes = tuple(range(node.axis(), x.ndim))
    inv = _inverse_root(p.mean(p.mul(x, x), axes, True), node.attr("epsilon"))
    return p.mul(p.mul(x, inv), scale)


@ORACLE.rule("InstanceNormalization", since=1)
def _instance_norm(node: Node, x: Value, scale: Value, bias: Value) -> Value:
    normal = _standardized(x, tuple(range(2, x.ndim)), node.attr("epsilon"))[0]
    return p.add(p.mul(normal, per_channel(scale, x.ndim)), per_channel(bias, x.ndim))


@ORACLE.rule("GroupNormalization", since=21)
def _group_norm(node: Node, x: Value, scale: Value, bias: Value) -> Value:
    groups = p.reshape(x, (x.shape[0], node.attr("num_groups"), -1))
    normal = p.reshape(_standardized(groups, (2,), node.attr("epsilon"))[0], x.shape)
    return p.add(p.mul(normal, per_channel(scale, x.ndim)), per_channel(bias, x.ndim))


@ORACLE.rule("MeanVarianceNormalization", since=9)
def _mvn(node: Node, x: Value) -> Value:
    axes = tuple(a % x.ndim for a in (node.attr("axes") or (0, 2, 3)))
    mean = p.mean(x, axes, True)
    var = p.sub(p.mean(p.mul(x, x), axes, True), p.mul(mean, mean))
    return p.div(p.sub(x, mean), p.add(p.unary(var, *CURVES["Sqrt"]), 1e-9))


@ORACLE.rule("LpNormalization", since=1)
def _lp_norm(node: Node, x: Value) -> Value:
    axis = node.axis()
    if node.attr("p") == 1:
        norm = p.total(absolute(x), (axis,), True)
    else:
        norm = p.unary(p.total(p.mul(x, x), (axis,), True), *CURVES["Sqrt"])
    x.tape.kinks.decide(norm.array)
    return p.where(norm.array == 0, x, p.div(x, p.where(norm.array == 0, 1.0, norm)))


@ORACLE.rule("LRN", since=1)
def _lrn(node: Node, x: Value) -> Value:
    size = node.attr("size")
    c = x.shape[1]
    near = np.zeros((c, c))
    for i in range(c):
        near[i, max(0, i - (size - 1) // 2) : min(c, i + size // 2 + 1)] = 1.0
    squares = p.reshape(p.mul(x, x), (x.shape[0], c, math.prod(x.shape[2:])))
    sums = p.reshape(p.matmul(x.tape.value(near), squares), x.shape)
    base = p.add(p.mul(sums, node.attr("alpha") / size), node.attr("bias"))
    return p.div(x, p.power(base, node.attr("beta")))
