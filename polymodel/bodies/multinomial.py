"""Multinomial, by the inverse of the distribution function."""

from __future__ import annotations

import numpy as np

from polymodel.bodies.table import BODIES, Body
from polymodel.plan import Node
from polymodel.spec import onnx_dtype


@BODIES.rule("Multinomial", since=7)
def multinomial(b: Body, node: Node, x: str) -> str:
    """(batch, classes) unnormalized log-probabilities -> (batch, sample_size) classes.

    A uniform number falls into the class whose part of the running sum it lies in.
    """
    batch, classes = node.shape()
    count = int(node.attr("sample_size"))
    kind = "float64" if node.dtype() == "float64" else "float32"
    ends = b.call("CumSum", b.call("Softmax", b.cast(x, kind), axis=1), b.constant(1, "int64"))
    ends = b.call("Div", ends, b.call("Slice", ends, *(b.constant([v], "int64") for v in (classes - 1, classes, 1))))
    inner = b.call("Slice", ends, *(b.constant([v], "int64") for v in (0, classes - 1, 1)))
    seed = node.attr("seed")
    drawn = b.call("RandomUniform", dtype=onnx_dtype(kind).value, shape=[batch, count, 1], seed=seed)
    passed = b.cast(b.call("GreaterOrEqual", drawn, b.reshape(inner, (batch, 1, classes - 1))), "int32")
    total = b.call("ReduceSum", passed, b.constant(np.array([2]), "int64"), keepdims=0)
    return b.cast(total, node.outputs[0].dtype)
