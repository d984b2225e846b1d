"""Operators on each element, with the broadcasting of the standard, which is NumPy's."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from polymodel.plan import Node
from polymodel_numpy.rules.table import TABLE, floats


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)) without overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


# Version, f, and the derivative from x and y = f(x).
_UNARY: dict[str, tuple[int, Callable[[Any], Any], Callable[[Any, Any], Any]]] = {
    "Abs": (13, np.abs, lambda x, y: np.sign(x)),
    "Cos": (22, np.cos, lambda x, y: -np.sin(x)),
    "Exp": (13, np.exp, lambda x, y: y),
    "Floor": (13, np.floor, lambda x, y: np.zeros_like(x)),
    "Identity": (13, lambda x: x, lambda x, y: np.ones_like(x)),
    "Log": (13, np.log, lambda x, y: 1 / x),
    "Neg": (13, np.negative, lambda x, y: -np.ones_like(x)),
    "Reciprocal": (13, np.reciprocal, lambda x, y: -y * y),
    "Relu": (14, lambda x: np.maximum(x, 0), lambda x, y: x > 0),
    "Sigmoid": (13, sigmoid, lambda x, y: y * sigmoid(-x)),
    "Sign": (13, np.sign, lambda x, y: np.zeros_like(x)),
    "Sin": (22, np.sin, lambda x, y: np.cos(x)),
    "Sqrt": (13, np.sqrt, lambda x, y: 0.5 / y),
    "Tanh": (13, np.tanh, lambda x, y: (1 - y) * (1 + y)),
}
_WITHOUT_DERIVATIVE: dict[str, tuple[int, Callable[..., Any]]] = {
    "And": (7, np.logical_and), "Not": (1, np.logical_not),
    "Equal": (13, np.equal), "Greater": (13, np.greater), "Less": (13, np.less), "IsNaN": (13, np.isnan),
}  # fmt: skip
_BINARY: dict[str, tuple[int, Callable[[Any, Any], Any], Callable[..., tuple[Any, Any]]]] = {
    "Add": (14, np.add, lambda g, a, b, y: (g, g)),
    "Sub": (14, np.subtract, lambda g, a, b, y: (g, -g)),
    "Mul": (14, np.multiply, lambda g, a, b, y: (g * b, g * a)),
}


def _register() -> None:
    for name, (since, function, slope) in _UNARY.items():
        def unary(node: Node, x: Any, f: Any = function, df: Any = slope) -> Any:
            y = f(x)
            return y, lambda g: (g * df(x, y),)

        TABLE.rule(name, since=since)(unary)
    for name, (since, plain) in _WITHOUT_DERIVATIVE.items():
        TABLE.rule(name, since=since)(lambda node, *inputs, f=plain: (f(*inputs), None))
    for name, (since, both, slopes) in _BINARY.items():
        def binary(node: Node, a: Any, b: Any, f: Any = both, df: Any = slopes) -> Any:
            y = f(a, b)
            return y, lambda g: df(g, a, b, y)

        TABLE.rule(name, since=since)(binary)


_register()


@TABLE.rule("Div", since=14)
def div(node: Node, a: Any, b: Any) -> Any:
    if not floats(node):  # towards zero
        return np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)), None
    y = a / b
    return y, lambda g: (g / b, -g * y / b)


@TABLE.rule("Pow", since=15, when=floats)
def power(node: Node, a: Any, b: Any) -> Any:
    b = b.astype(a.dtype)
    y = a**b
    return y, lambda g: (g * np.where(b == 0, 0, b * a ** (b - 1)), np.where(a > 0, g * y * np.log(a), 0))


@TABLE.rule("Sum", "Mean", since=13)
def add_all(node: Node, *inputs: Any) -> Any:
    share = len(inputs) if node.op_type == "Mean" else 1
    return reduce(np.add, inputs) / share if share > 1 else reduce(np.add, inputs), lambda g: [g / share] * len(inputs)


@TABLE.rule("Max", "Min", since=13)
def extreme(node: Node, *inputs: Any) -> Any:
    y = reduce(np.maximum if node.op_type == "Max" else np.minimum, inputs)
    return y, lambda g: [g * (x == y) / sum(z == y for z in inputs) for x in inputs]


@TABLE.rule("Clip", since=13)
def clip(node: Node, x: Any, low: Any = None, high: Any = None) -> Any:
    y = x if low is None else np.maximum(x, low)
    y = y if high is None else np.minimum(y, high)
    return y, lambda g: (g * (x == y),)


@TABLE.rule("Where", since=16)
def where(node: Node, condition: Any, a: Any, b: Any) -> Any:
    return np.where(condition, a, b), lambda g: (None, np.where(condition, g, 0), np.where(condition, 0, g))


@TABLE.rule("Cast", since=13, when=lambda node: "string" not in (node.dtype(), node.outputs[0].dtype))
def cast(node: Node, x: Any) -> Any:
    return x, lambda g: (g,)


@TABLE.rule("Dropout", since=13, when=lambda node: not node.has_input(2) or (node.is_const(2) and not node.const(2)))
def dropout(node: Node, x: Any, *settings: Any) -> Any:
    return (x, np.ones_like(x, bool)), lambda g, *mask: (g,)
