"""Comparisons, boolean and bitwise operators, selection.

MXNet's own logical kernels reject bool: And is a product, Or a sum, Xor an inequality, all of bool tensors.
"""

from __future__ import annotations

from polymodel.plan import Node
from polymodel_mxnet.rules.table import TABLE
from polymodel_mxnet.symbols import Symbol, op

_BINARY = {
    "Equal": (7, "_npi_equal"),
    "Less": (7, "_npi_less"),
    "LessOrEqual": (12, "_npi_less_equal"),
    "Greater": (7, "_npi_greater"),
    "GreaterOrEqual": (12, "_npi_greater_equal"),
    "And": (7, "_npi_multiply"),
    "Or": (7, "_npi_add"),
    "Xor": (7, "_npi_not_equal"),
    "BitwiseAnd": (18, "_npi_bitwise_and"),
    "BitwiseOr": (18, "_npi_bitwise_or"),
    "BitwiseXor": (18, "_npi_bitwise_xor"),
}


def _register_binary() -> None:
    for op_type, (since, name) in _BINARY.items():
        TABLE.rule(op_type, since=since)(lambda node, a, b, name=name: op(name, a, b))


_register_binary()


@TABLE.rule("Not", since=1)
def not_(node: Node, x: Symbol) -> Symbol:
    return op("_npi_logical_not", x)


@TABLE.rule("BitwiseNot", since=18)
def bitwise_not(node: Node, x: Symbol) -> Symbol:
    return op("_npi_bitwise_not", x)


@TABLE.rule("IsNaN", since=9)
def is_nan(node: Node, x: Symbol) -> Symbol:
    return op("_npi_isnan", x)


@TABLE.rule("IsInf", since=10)
def is_inf(node: Node, x: Symbol) -> Symbol:
    up, down = node.attr("detect_positive"), node.attr("detect_negative")
    if up and down:
        return op("_npi_isinf", x)
    if up or down:
        return op("_npi_isposinf" if up else "_npi_isneginf", x)
    return op("_npi_not_equal", op("_npi_isinf", x), op("_npi_isinf", x))


@TABLE.rule("Where", since=9)
def where(node: Node, condition: Symbol, a: Symbol, b: Symbol) -> Symbol:
    return op("_npi_where", condition, a, b)
