"""Operators evaluated by the ONNX reference implementation: exact ones, and those that nothing is differentiated through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from polymodel.plan import Node
from polymodel_conformance.oracle.tape import Array

EXACT = frozenset(
    [
        "Equal",
        "Less",
        "LessOrEqual",
        "Greater",
        "GreaterOrEqual",
        "And",
        "Or",
        "Xor",
        "Not",
        "IsNaN",
        "IsInf",
        "ArgMax",
        "ArgMin",
        "Shape",
        "Size",
        "EyeLike",
        "ConstantOfShape",
        "Constant",
        "NonZero",
        "BitShift",
        "BitwiseAnd",
        "BitwiseOr",
        "BitwiseXor",
        "BitwiseNot",
        "Unique",
        "ConvInteger",
        "MatMulInteger",
        "QLinearConv",
        "QLinearMatMul",
        "NonMaxSuppression",
        "TfIdfVectorizer",
    ]
)
"""Operators that the reference implementation computes in any dtype without rounding; no derivative flows through."""


def evaluate(node: Node, arrays: Sequence[Array | None]) -> list[Array]:
    """Run one call in the ONNX reference implementation.

    Args:
        node: the call; its attributes are given back to ONNX as they are.
        arrays: its inputs, floats in float64.
    """
    attributes = {k: v for k, v in node.attributes.items() if v is not None}
    names = [f"i{i}" if a is not None else "" for i, a in enumerate(arrays)]
    outs = [f"o{i}" if n else "" for i, n in enumerate(node.output_names)]
    proto = onnx.helper.make_node(node.op_type, names, outs, domain=node.domain)
    for name, value in attributes.items():
        proto.attribute.append(_attribute(name, value))
    opset = onnx.helper.make_opsetid(node.domain, node.version)
    graph = onnx.helper.make_graph(
        [proto],
        "one",
        [_info(n, a) for n, a in zip(names, arrays, strict=True) if a is not None],
        [onnx.helper.make_empty_tensor_value_info(o) for o in outs if o],
    )
    model = onnx.helper.make_model(graph, opset_imports=[opset])
    run = ReferenceEvaluator(model)
    with np.errstate(all="ignore"):
        found = run.run(None, {n: a for n, a in zip(names, arrays, strict=True) if a is not None})
    return [np.asarray(f) for f in found]


def _attribute(name: str, value: Any) -> onnx.AttributeProto:
    if isinstance(value, np.ndarray):
        return onnx.helper.make_attribute(name, onnx.numpy_helper.from_array(value))
    if isinstance(value, tuple):
        kind = onnx.AttributeProto.INTS if not value or isinstance(value[0], int) else None
        return onnx.helper.make_attribute(name, list(value), attr_type=kind)
    return onnx.helper.make_attribute(name, value)


def _info(name: str, array: Array) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
