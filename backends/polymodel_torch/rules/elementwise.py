"""Operators that act on each element by itself.

Derivatives at kinks: relu'(0) = abs'(0) = 0; Max and Min share the derivative evenly among tied inputs; Clip passes it
at the limits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

from polymodel.feeds import is_float
from polymodel.plan import Node
from polymodel_torch.compat import torch
from polymodel_torch.dtypes import torch_dtype
from polymodel_torch.rules.table import TABLE, leaf

_UNARY: dict[str, tuple[int, Callable[[Any], Any]]] = {
    "Neg": (13, torch.neg),
    "Abs": (13, torch.abs),
    "Exp": (13, torch.exp),
    "Log": (13, torch.log),
    "Sqrt": (13, torch.sqrt),
    "Reciprocal": (13, torch.reciprocal),
    "Floor": (13, torch.floor),
    "Ceil": (13, torch.ceil),
    "Round": (22, torch.round),
    "Erf": (13, torch.erf),
    "Sin": (22, torch.sin),
    "Cos": (22, torch.cos),
    "Tan": (22, torch.tan),
    "Asin": (22, torch.asin),
    "Acos": (22, torch.acos),
    "Atan": (22, torch.atan),
    "Sinh": (22, torch.sinh),
    "Cosh": (22, torch.cosh),
    "Tanh": (13, torch.tanh),
    "Asinh": (22, torch.asinh),
    "Acosh": (22, torch.acosh),
    "Atanh": (22, torch.atanh),
    "Relu": (14, torch.relu),
    "Sigmoid": (13, torch.sigmoid),
    "Softsign": (22, torch.nn.functional.softsign),
    "HardSwish": (22, torch.nn.functional.hardswish),
    "Mish": (22, torch.nn.functional.mish),
}

_BINARY: dict[str, tuple[int, Callable[[Any, Any], Any]]] = {
    "Add": (14, torch.add),
    "Sub": (14, torch.sub),
    "Mul": (14, torch.mul),
}


def _register_plain() -> None:
    for op_type, (since, function) in _UNARY.items():
        TABLE.rule(op_type, since=since)(lambda node, x, f=function: f(x))
    for op_type, (since, binary) in _BINARY.items():
        TABLE.rule(op_type, since=since)(lambda node, a, b, f=binary: f(a, b))


_register_plain()


@TABLE.rule("ReluInPlace", since=1, domain="polymodel")
def relu_in_place(node: Node, x: Any) -> Any:
    return torch.relu_(x)


@TABLE.rule("AddInPlace", since=1, domain="polymodel")
def add_in_place(node: Node, a: Any, b: Any) -> Any:
    return a.add_(b)


@TABLE.rule("Sign", since=13)
def sign(node: Node, x: Any) -> Any:
    """PyTorch takes NaN for 0."""
    return torch.where(torch.isnan(x), x.detach(), torch.sign(x)) if is_float(node.dtype()) else torch.sign(x)


@TABLE.rule("Identity", since=13)
def identity(node: Node, x: Any) -> Any:
    return x


@TABLE.rule("Div", since=14)
def div(node: Node, a: Any, b: Any) -> Any:
    return torch.div(a, b) if is_float(node.dtype()) else torch.div(a, b, rounding_mode="trunc")


@TABLE.rule("Pow", since=15)
def power(node: Node, a: Any, b: Any) -> Any:
    kind = torch_dtype(node.dtype())
    if node.dtype() == node.dtype(1):
        return torch.pow(a, b)
    if is_float(node.dtype(1)) and not is_float(node.dtype()):
        return torch.pow(a.to(torch.float64), b.to(torch.float64)).to(kind)
    return torch.pow(a, b.to(kind) if is_float(node.dtype()) else b).to(kind)


@TABLE.rule("Mod", since=13)
def mod(node: Node, a: Any, b: Any) -> Any:
    return torch.fmod(a, b) if node.attr("fmod") else torch.remainder(a, b)


@TABLE.rule("Min", since=13)
def minimum(node: Node, *inputs: Any) -> Any:
    return reduce(torch.minimum, inputs)


@TABLE.rule("Max", since=13)
def maximum(node: Node, *inputs: Any) -> Any:
    return reduce(torch.maximum, inputs)


@TABLE.rule("Sum", since=13)
def add_all(node: Node, *inputs: Any) -> Any:
    return reduce(torch.add, inputs)


@TABLE.rule("Mean", since=13)
def mean_of_all(node: Node, *inputs: Any) -> Any:
    return torch.div(reduce(torch.add, inputs), len(inputs))


@TABLE.rule("Clip", since=13)
def clip(node: Node, x: Any, low: Any = None, high: Any = None) -> Any:
    if low is None and high is None:
        return x
    return torch.clamp(x, low, high)


@TABLE.rule("LeakyRelu", since=16)
def leaky_relu(node: Node, x: Any) -> Any:
    return torch.nn.functional.leaky_relu(x, node.attr("alpha"))


@TABLE.rule("PRelu", since=16)
def prelu(node: Node, x: Any, slope: Any) -> Any:
    return torch.where(x < 0, x * slope, x)


@TABLE.rule("Elu", since=22)
def elu(node: Node, x: Any) -> Any:
    return torch.nn.functional.elu(x, node.attr("alpha"))


@TABLE.rule("Selu", since=22)
def selu(node: Node, x: Any) -> Any:
    alpha, gamma = node.attr("alpha"), node.attr("gamma")
    return gamma * torch.nn.functional.elu(x, alpha)


@TABLE.rule("Celu", since=12)
def celu(node: Node, x: Any) -> Any:
    return torch.celu(x, node.attr("alpha"))


@TABLE.rule("HardSigmoid", since=22)
def hard_sigmoid(node: Node, x: Any) -> Any:
    return torch.clamp(x * node.attr("alpha") + node.attr("beta"), 0, 1)


@TABLE.rule("Softplus", since=22)
def softplus(node: Node, x: Any) -> Any:
    return _softplus(x)


@leaf
def _softplus(x: torch.Tensor) -> torch.Tensor:
    """log(1 + e^x) without torch's linear piece, whose error is e^-20."""
    return torch.logaddexp(x, torch.zeros((), dtype=x.dtype, device=x.device))


@TABLE.rule("Gelu", since=20)
def gelu(node: Node, x: Any) -> Any:
    return torch._C._nn.gelu(x, approximate=node.attr("approximate"))


@TABLE.rule("Swish", since=24)
def swish(node: Node, x: Any) -> Any:
    alpha = node.attr("alpha")
    return torch.nn.functional.silu(x) if alpha == 1.0 else x * torch.sigmoid(alpha * x)


@TABLE.rule("ThresholdedRelu", since=22)
def thresholded_relu(node: Node, x: Any) -> Any:
    return torch.where(x > node.attr("alpha"), x, torch.zeros((), dtype=torch_dtype(node.dtype())))


@TABLE.rule("Shrink", since=9)
def shrink(node: Node, x: Any) -> Any:
    bias, limit = node.attr("bias"), node.attr("lambd")
    if not is_float(node.dtype()):
        bias = math.trunc(bias)
    return torch.where(x < -limit, x + bias, torch.where(x > limit, x - bias, torch.zeros_like(x)))


@TABLE.rule("Softmax", since=13)
def softmax(node: Node, x: Any) -> Any:
    if node.dtype() in ("float16", "bfloat16"):
        return leaf(rounded_softmax)(x, node.axis())
    return torch.softmax(x, node.axis())


def rounded_softmax(x: torch.Tensor, axis: int) -> torch.Tensor:
    """Softmax of a narrow type; on the CPU it is rounded after every operator, as the standard's function body is."""
    if x.device.type != "cpu" or x.numel() == 0:
        return torch.softmax(x, axis)
    powers = torch.exp(x - x.amax(axis, keepdim=True))
    return powers / powers.sum(axis, keepdim=True, dtype=torch.float32).to(x.dtype)


@TABLE.rule("LogSoftmax", since=13)
def log_softmax(node: Node, x: Any) -> Any:
    return torch.log_softmax(x, node.axis())


@TABLE.rule("Hardmax", since=13)
def hardmax(node: Node, x: Any) -> Any:
    best = torch.argmax(x, node.axis(), keepdim=True)
    return torch.zeros_like(x).scatter(node.axis(), best, 1.0)
