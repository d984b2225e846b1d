"""Quantization and products of quantized numbers.

Products of integers are computed by the products of floating-point numbers, which every framework has fast kernels for:
in float32 where no sum can leave the 24 bits in which it is exact, else in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from polymodel.bodies.table import BODIES, Body
from polymodel.errors import NeedsStaticShape
from polymodel.passes.carriers import INTEGERS
from polymodel.plan import Node
from polymodel.spec import dtype_name

_DIVIDED = frozenset({"float16", "bfloat16", "float32", "float64"})
_EXACT = (1 << 24) // (255 * 255)  # products of two differences of 8-bit numbers that a float32 sums exactly


def _spread(b: Body, node: Node, part: str, i: int) -> str:
    """A scale or zero point so that it broadcasts to the input: per tensor, per axis or per block."""
    spec, rank = node.spec(i), node.rank(0)
    if spec.rank == 0:
        return part
    if spec.is_static and spec.size == 1:
        return b.reshape(part, ())
    axis, block = node.axis(), int(node.attr("block_size") or 0)
    if block:
        index = np.arange(node.dim(0, axis)) // block
        return b.call("Gather", part, b.constant(index, "int64"), axis=axis)
    return b.reshape(part, [-1 if a == axis else 1 for a in range(rank)]) if rank > 1 else part


@BODIES.rule("QuantizeLinear", since=10)
def quantize(b: Body, node: Node, x: str, scale: str, zero: str | None = None) -> str:
    """saturate(round(x / scale) + zero point), the quotient in the type of the scale unless `precision` names another."""
    target = node.outputs[0].dtype
    asked = node.attr("precision")
    work = dtype_name(_data_type(asked)) if asked else node.dtype(1)
    work = work if work in _DIVIDED else "float64" if work == "int32" else "float32"
    quotient = b.call("Div", b.cast(x, work), _spread(b, node, b.cast(scale, work), 1))
    if target not in INTEGERS:
        if zero is not None:
            quotient = b.call("Add", quotient, _spread(b, node, b.cast(zero, work), 2))
        return b.call("Cast", quotient, to=_number(target), saturate=node.attr("saturate"))
    kind = INTEGERS[target]
    whole = b.cast(b.call("Round", quotient), "float32" if work != "float64" else work)
    kept = b.spec(whole).dtype
    if zero is not None:
        whole = b.call("Add", whole, _spread(b, node, b.cast(zero, kept), 2))
    return b.cast(b.call("Clip", whole, b.constant(kind.low, kept), b.constant(kind.high, kept)), target)


@BODIES.rule("DequantizeLinear", since=10)
def dequantize(b: Body, node: Node, x: str, scale: str, zero: str | None = None) -> str:
    """(x - zero point) * scale, in float32."""
    target = node.outputs[0].dtype
    wide = "int32" if node.dtype() in INTEGERS else "float32"
    value = b.cast(x, wide)
    if zero is not None:
        value = b.call("Sub", value, _spread(b, node, b.cast(zero, wide), 2))
    factor = _spread(b, node, b.cast(scale, "float32"), 1)
    return b.cast(b.call("Mul", b.cast(value, "float32"), factor), target)


def _data_type(number: Any) -> Any:
    import onnx_ir as ir

    return ir.DataType(int(number))


def _number(dtype: str) -> int:
    from polymodel.spec import onnx_dtype

    return int(onnx_dtype(dtype).value)


def _terms(node: Node, i: int, axes: range) -> int | None:
    """How many products one sum has; None where that is unknown."""
    try:
        return int(np.prod([node.dim(i, a) for a in axes], dtype=np.int64))
    except NeedsStaticShape:
        return None


def _work(terms: int | None) -> str:
    return "float32" if terms is not None and terms <= _EXACT else "float64"


def _to_int32(b: Body, x: str) -> str:
    """A float64 sum of whole numbers as int32, around the circle where it does not fit."""
    return b.cast(x, "int32") if b.spec(x).dtype == "float32" else b.cast(b.cast(x, "int64"), "int32")


def _shifted(b: Body, x: str, zero: str | None, work: str, shape: list[int] | None = None) -> str:
    """x - zero point in a floating-point type; a vector of zero points is given the shape."""
    value = b.cast(x, work)
    if zero is None:
        return value
    if b.spec(zero).rank == 1:
        one = b.spec(zero).is_static and b.spec(zero).size == 1
        zero = b.reshape(zero, () if one or shape is None else shape)
    return b.call("Sub", value, b.cast(zero, work))


@BODIES.rule("MatMulInteger", since=10)
def matmul_integer(b: Body, node: Node, a: str, c: str, a_zero: str | None = None, c_zero: str | None = None) -> str:
    work = _work(_terms(node, 0, range(node.rank(0) - 1, node.rank(0))))
    left, right = _shifted(b, a, a_zero, work, [-1, 1]), _shifted(b, c, c_zero, work, [1, -1])
    return _to_int32(b, b.call("MatMul", left, right))


def _convolution(b: Body, node: Node, x: str, w: str, x_zero: str | None, w_zero: str | None, i: int) -> str:
    """The sums of a convolution of integers; input i is the weight."""
    rank = node.rank(i)
    work = _work(_terms(node, i, range(1, rank)))
    left, right = _shifted(b, x, x_zero, work), _shifted(b, w, w_zero, work, [-1] + [1] * (rank - 1))
    names = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
    return b.call("Conv", left, right, **{n: node.attr(n) for n in names})


@BODIES.rule("ConvInteger", since=10)
def conv_integer(b: Body, node: Node, x: str, w: str, x_zero: str | None = None, w_zero: str | None = None) -> str:
    return _to_int32(b, _convolution(b, node, x, w, x_zero, w_zero, 1))


def _requantized(b: Body, sums: str, factor: str, zero: str, target: str) -> str:
    """saturate(round(sums * factor) + zero point), in float64."""
    whole = b.call("Round", b.call("Mul", b.cast(sums, "float64"), b.cast(factor, "float64")))
    whole = b.call("Add", whole, b.cast(zero, "float64"))
    low, high = b.constant(INTEGERS[target].low, "float64"), b.constant(INTEGERS[target].high, "float64")
    return b.cast(b.call("Clip", whole, low, high), target)


def _scalar(b: Body, part: str) -> str:
    spec = b.spec(part)
    return b.reshape(part, ()) if spec.rank and spec.is_static and spec.size == 1 else part


@BODIES.rule("QLinearConv", since=10)
def qlinear_conv(
    b: Body,
    node: Node,
    x: str,
    x_scale: str,
    x_zero: str,
    w: str,
    w_scale: str,
    w_zero: str,
    y_scale: str,
    y_zero: str,
    bias: str | None = None,
) -> str:
    rank = node.rank(3)
    sums = b.cast(_convolution(b, node, x, w, x_zero, w_zero, 3), "float64")
    channels = [-1] + [1] * (rank - 2)
    if bias is not None:
        sums = b.call("Add", sums, b.cast(b.reshape(bias, channels), "float64"))
    w_scale = _scalar(b, w_scale)
    if b.spec(w_scale).rank:
        w_scale = b.reshape(w_scale, channels)
    factor = b.call("Div", b.call("Mul", _scalar(b, x_scale), w_scale), _scalar(b, y_scale))
    return _requantized(b, sums, factor, _scalar(b, y_zero), node.outputs[0].dtype)


@BODIES.rule("QLinearMatMul", since=10)
def qlinear_matmul(
    b: Body, node: Node, a: str, a_scale: str, a_zero: str, c: str, c_scale: str, c_zero: str, y_scale: str, y_zero: str
) -> str:
    """Scales and zero points of the left operand and of the result are for rows, those of the right for columns."""
    work = _work(_terms(node, 0, range(node.rank(0) - 1, node.rank(0))))
    sums = b.call("MatMul", _shifted(b, a, a_zero, work, [-1, 1]), _shifted(b, c, c_zero, work, [1, -1]))

    def part(name: str, shape: list[int]) -> str:
        name = _scalar(b, name)
        return b.reshape(name, shape) if b.spec(name).rank == 1 else name

    def scale(name: str, shape: list[int]) -> str:
        return b.cast(part(name, shape), "float32")

    product = b.call("Mul", scale(a_scale, [-1, 1]), scale(c_scale, [1, -1]))
    factor = b.call("Div", product, scale(y_scale, [-1, 1]))
    return _requantized(b, sums, factor, part(y_zero, [-1, 1]), node.outputs[0].dtype)
