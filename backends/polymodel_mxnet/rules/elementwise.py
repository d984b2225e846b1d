"""Operators that act on each element by itself.

Derivatives at kinks: relu'(0) = abs'(0) = 0; LeakyRelu, PRelu, Elu, Selu and Celu have their left derivative at 0; Max,
Min and Clip give the whole derivative to the first of tied inputs. Kernels that MXNet computes in float32
only, or rounds otherwise than the standard, are composed of exact ones.
"""

from __future__ import annotations

import math
from functools import reduce

from polymodel.feeds import is_float
from polymodel.plan import Node
from polymodel_mxnet.rules.integers import integer_power, truncated_quotient
from polymodel_mxnet.rules.table import TABLE
from polymodel_mxnet.symbols import Symbol, broadcast, cast, current_trace, is_computed, op, reshape, select, spread, total, transpose

_UNARY = {
    "Neg": (6, "_npi_negative"),
    "Exp": (6, "_npi_exp"),
    "Log": (6, "_npi_log"),
    "Sqrt": (6, "_npi_sqrt"),
    "Reciprocal": (6, "_npi_reciprocal"),
    "Floor": (6, "_npi_floor"),
    "Ceil": (6, "_npi_ceil"),
    "Sin": (7, "_npi_sin"),
    "Cos": (7, "_npi_cos"),
    "Tan": (7, "_npi_tan"),
    "Asin": (7, "_npi_arcsin"),
    "Acos": (7, "_npi_arccos"),
    "Atan": (7, "_npi_arctan"),
    "Sinh": (9, "_npi_sinh"),
    "Cosh": (9, "_npi_cosh"),
    "Tanh": (6, "_npi_tanh"),
    "Asinh": (9, "_npi_arcsinh"),
    "Acosh": (9, "_npi_arccosh"),
    "Atanh": (9, "_npi_arctanh"),
    "Sigmoid": (6, "_npx_sigmoid"),
    "Softsign": (1, "softsign"),
}


def _register_unary() -> None:
    for op_type, (since, name) in _UNARY.items():
        TABLE.rule(op_type, since=since)(lambda node, x, name=name: op(name, x))


_register_unary()


@TABLE.rule("Sign", since=9)
def sign(node: Node, x: Symbol) -> Symbol:
    """MXNet's kernel takes NaN for 0."""
    y = op("_npi_sign", x)
    return op("_npi_where", op("_npi_equal", x, x), y, op("BlockGrad", x)) if is_float(node.dtype()) else y


@TABLE.rule("Abs", since=6)
def absolute(node: Node, x: Symbol) -> Symbol:
    """MXNet's kernel takes integers by way of float64, which int64 does not fit into."""
    return op("_npi_abs", x) if is_float(node.dtype()) else op("_npi_where", x < 0, op("_npi_negative", x), x)


def relu(x: Symbol) -> Symbol:
    """max(x, 0) with relu'(0) = 0; `Activation` would turn NaN into 0."""
    return op("_npx_relu", x)


def softplus(x: Symbol) -> Symbol:
    """log(1 + exp(x)): MXNet's own kernel errs by 2e-6 in float32, this form by 5e-8.

    The derivative at 0 is 1 from the first maximum, and -1/2 by way of the second, whose ties go to x. The sum of halves
    (x + |x|) / 2 would be no number at the infinities.
    """
    size = op("_npi_maximum", x, op("_npi_negative", x))
    return op("_npi_maximum_scalar", x, scalar=0.0, is_int=False) + op("_npi_log1p", op("_npi_exp", size * -1.0))


@TABLE.rule("Erf", since=9)
def erf(node: Node, x: Symbol) -> Symbol:
    """The error function. The kernel's derivative divides by sqrt(pi) in float32, which float64 cannot accept."""
    y = op("_npx_erf", x)
    held = op("BlockGrad", y)
    return held + (y - held) * (1.7724539041519165 / math.sqrt(math.pi)) if node.dtype() == "float64" else y


def _below(x: Symbol) -> Symbol:
    """min(x, 0), with derivative 1 at 0."""
    return op("_npi_minimum_scalar", x, scalar=0.0, is_int=False)


def add(node: Node, a: Symbol, b: Symbol) -> Symbol:
    """Sum of two inputs; of one shape by the kernel that keeps oneDNN's blocked layout.

    That kernel hands its cotangent on without copying: where the sum is an output and an operand a variable, the
    variable's gradient array is never written. So it is used between computed values only.
    """
    if node.dtype() != "float32" or node.rank() == 0:
        return op("_npi_add", a, b)
    for i, (x, y) in enumerate(((a, b), (b, a))):
        whole, part = node.shape(i), node.shape(1 - i)
        rows = whole[: len(whole) - len(part)]
        trained = node.input_names[1 - i] not in current_trace().fixed and current_trace().purpose != "predict"
        if trained and rows and whole[len(rows) :] == part and math.prod(rows) >= _MANY_ROWS and is_computed(x):
            size = math.prod(part)
            return op("elemwise_add", x, reshape(spread(reshape(y, (size,)), math.prod(rows), size), whole))
    same = node.shape(0) == node.shape(1) and is_computed(a) and is_computed(b)
    return op("elemwise_add" if same else "_npi_add", a, b)


_MANY_ROWS = 8  # from which on a sum over rows by a product pays


@TABLE.rule("Add", since=7)
def add_rule(node: Node, a: Symbol, b: Symbol) -> Symbol:
    return add(node, a, b)


@TABLE.rule("Sub", since=7)
def sub(node: Node, a: Symbol, b: Symbol) -> Symbol:
    return op("_npi_subtract", a, b)


@TABLE.rule("Mul", since=7)
def mul(node: Node, a: Symbol, b: Symbol) -> Symbol:
    if is_float(node.dtype()):
        for x, y, i in ((a, b, 1), (b, a, 0)):
            if node.is_const(i) and node.const(i).ndim == 0 and math.isfinite(node.const(i)) and node.rank(1 - i):
                return op("_npi_multiply_scalar", x, scalar=float(node.const(i)), is_int=False)
            del y
    return op("_npi_multiply", a, b)


@TABLE.rule("Div", since=7)
def div(node: Node, a: Symbol, b: Symbol) -> Symbol:
    return op("_npi_true_divide", a, b) if is_float(node.dtype()) else truncated_quotient(a, b, node.dtype())


@TABLE.rule("Pow", since=7)
def power(node: Node, a: Symbol, b: Symbol) -> Symbol:
    kind, exponent = node.dtype(0), node.dtype(1)
    if is_float(kind):
        if node.is_const(1) and node.const(1).size == 1 and node.const(1).ndim <= node.rank(0):
            value = float(node.const(1).reshape(()))
            if value == 2.0:
                return op("_npi_square", a)
            if value != 0.0 and math.isfinite(value):
                return op("_npi_power_scalar", a, scalar=value, is_int=False)
        b = b if exponent == kind else cast(b, kind)
        a = select(b != 0.0, a, 1.0, kind) if node.is_const(1) and not node.const(1).all() else a  # 0 a^-1 is NaN at 0
        if exponent != kind or node.is_const(1) or current_trace().purpose == "predict":
            return op("_npi_power", a, b)
        # d(a^b)/db is 0 at a = 0; the kernel computes 0 * log(0) there, which is NaN
        zero = op("BlockGrad", a) == 0.0
        positive = select(op("BlockGrad", a) != 0.0, a, 1.0, kind)
        return op("_npi_where", zero, op("_npi_power", a, op("BlockGrad", b)), op("_npi_power", positive, b))
    if not is_float(exponent):
        return integer_power(a, b, node)
    return cast(op("trunc", op("_npi_power", cast(a, "float64"), cast(b, "float64"))), kind)


@TABLE.rule("Mod", since=10)
def mod(node: Node, a: Symbol, b: Symbol) -> Symbol:
    if not is_float(node.dtype()):
        rest = a - truncated_quotient(a, b, node.dtype()) * b
        if node.attr("fmod"):
            return rest
        wrong = cast((rest * op("_npi_sign", b)) < 0, node.dtype())
        return rest + wrong * b
    rest = _float_remainder(op("BlockGrad", a), op("BlockGrad", b), node)
    if current_trace().purpose == "predict":
        return rest
    quotient = op("BlockGrad", op("trunc" if node.attr("fmod") else "_npi_floor", op("_npi_true_divide", a, b)))
    return rest + (a - op("BlockGrad", a)) - quotient * (b - op("BlockGrad", b))


def _float_remainder(a: Symbol, b: Symbol, node: Node) -> Symbol:
    """fmod and floor-mod as in C and NumPy, special values included, from MXNet's remainder of positive numbers."""
    kind, size, whole = node.dtype(), op("_npi_abs", a), op("_npi_isinf", b)
    usual = op("_npi_multiply", b != 0, op("_npi_logical_not", whole))
    divisor = select(usual, op("_npi_abs", b), 1.0, kind)
    rest = op("_npi_mod", size, divisor)
    rest = op("_npi_where", op("_npi_multiply", whole, op("_npi_isfinite", a)), op("_npi_add", size, rest * 0.0), rest)
    sound = op("_npi_multiply", op("_npi_isfinite", a), op("_npi_multiply", b != 0, b == b))
    signed = select(sound, op("_npi_copysign", rest, a), math.nan, kind)
    if node.attr("fmod"):
        return signed
    wrong = op("_npi_multiply", (signed * op("_npi_sign", b)) < 0, signed != 0)
    return op("_npi_where", wrong, op("_npi_add", signed, b), signed)


@TABLE.rule("Round", since=11)
def round_(node: Node, x: Symbol) -> Symbol:
    """Ties go to even numbers; MXNet's kernel for that takes no float16 and makes 0 of -0.5."""
    if node.dtype() == "float16":
        return cast(_rounded(cast(x, "float32")), "float16")
    return _rounded(x)


def _rounded(x: Symbol) -> Symbol:
    y = op("_npi_around", x, decimals=0)
    return op("_npi_where", x < 0, op("_npi_negative", op("_npi_abs", y)), y)


@TABLE.rule("Relu", since=6)
def relu_rule(node: Node, x: Symbol) -> Symbol:
    if not is_float(node.dtype()):
        return op("_npi_maximum_scalar", x, scalar=0.0, is_int=True)
    trace = current_trace()
    hidden = trace.purpose != "predict" or trace.readers[node.output_names[0]] <= _ZERO_IS_ZERO
    if node.dtype() == "float32" and node.rank() == 4 and hidden:
        return _blocked_relu(x)
    return relu(x)


_ZERO_IS_ZERO = frozenset({"Conv", "Add", "MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean"})
"""Operators for which -0.0 is as good as 0.0: a prediction rectifies on the blocked layout where nothing else reads."""


def _blocked_relu(x: Symbol) -> Symbol:
    """max(x, 0) on oneDNN's blocked layout, which `_npx_relu` would undo on both sides of each convolution.

    oneDNN's own rectifier turns NaN into 0. Its ELU with slope 0 keeps NaN and has the same derivative; a negative
    element becomes -0.
    """
    return op("_npx_leaky_relu", x, act_type="elu", slope=0.0)


@TABLE.rule("LeakyRelu", since=6)
def leaky_relu(node: Node, x: Symbol) -> Symbol:
    return relu(x) + _below(x) * float(node.attr("alpha"))


@TABLE.rule("PRelu", since=7)
def prelu(node: Node, x: Symbol, slope: Symbol) -> Symbol:
    if is_float(node.dtype()):
        return relu(x) + _below(x) * slope
    return op("_npi_where", x < 0, op("_npi_multiply", x, slope), x)


@TABLE.rule("Elu", since=6)
def elu(node: Node, x: Symbol) -> Symbol:
    return relu(x) + op("_npi_expm1", _below(x)) * float(node.attr("alpha"))


@TABLE.rule("Selu", since=6)
def selu(node: Node, x: Symbol) -> Symbol:
    alpha, gamma = float(node.attr("alpha")), float(node.attr("gamma"))
    return (relu(x) + op("_npi_expm1", _below(x)) * alpha) * gamma


@TABLE.rule("Celu", since=12)
def celu(node: Node, x: Symbol) -> Symbol:
    alpha = float(node.attr("alpha"))
    return relu(x) + op("_npi_expm1", _below(x) * (1.0 / alpha)) * alpha


@TABLE.rule("Softplus", since=1)
def softplus_rule(node: Node, x: Symbol) -> Symbol:
    return softplus(x)


@TABLE.rule("Mish", since=18)
def mish(node: Node, x: Symbol) -> Symbol:
    return x * op("_npi_tanh", softplus(x))


def gelu(node: Node, x: Symbol) -> Symbol:
    """x * Phi(x), exact or with tanh."""
    if node.attr("approximate") == "tanh":
        inner = (x + op("_npi_power_scalar", x, scalar=3.0, is_int=False) * 0.044715) * math.sqrt(2.0 / math.pi)
        return x * 0.5 * (op("_npi_tanh", inner) + 1.0)
    if node.dtype() == "float32" and node.rank() > 0:
        return op("_npx_leaky_relu", x, act_type="gelu")
    return x * 0.5 * (erf(node, x * math.sqrt(0.5)) + 1.0)


TABLE.rule("Gelu", since=20)(gelu)


@TABLE.rule("Swish", since=24)
def swish(node: Node, x: Symbol) -> Symbol:
    return x * op("_npx_sigmoid", x * float(node.attr("alpha")))


def _limit(x: Symbol, low: float, high: float) -> Symbol:
    return op("_npi_minimum_scalar", op("_npi_maximum_scalar", x, scalar=low), scalar=high)


@TABLE.rule("HardSigmoid", since=6)
def hard_sigmoid(node: Node, x: Symbol) -> Symbol:
    return _limit(x * float(node.attr("alpha")) + float(node.attr("beta")), 0.0, 1.0)


@TABLE.rule("HardSwish", since=14)
def hard_swish(node: Node, x: Symbol) -> Symbol:
    return x * _limit(x * (1.0 / 6.0) + 0.5, 0.0, 1.0)


@TABLE.rule("ThresholdedRelu", since=10)
def thresholded_relu(node: Node, x: Symbol) -> Symbol:
    return select(x > float(node.attr("alpha")), x, 0.0, node.dtype())


@TABLE.rule("Shrink", since=9)
def shrink(node: Node, x: Symbol) -> Symbol:
    bias, limit, kind = float(node.attr("bias")), float(node.attr("lambd")), node.dtype()
    y = x if is_float(kind) else cast(x, "float64")
    inner = select(y > limit, y - bias, 0.0, kind if is_float(kind) else "float64")
    result = op("_npi_where", y < -limit, y + bias, inner)
    return result if is_float(kind) else cast(result, kind)


@TABLE.rule("Clip", since=11)
def clip(node: Node, x: Symbol, low: Symbol = None, high: Symbol = None) -> Symbol:
    for name, i, bound in (("maximum", 1, low), ("minimum", 2, high)):
        if bound is None:
            continue
        if node.is_const(i) and is_float(node.dtype()) and math.isfinite(node.const(i)):
            x = op(f"_npi_{name}_scalar", x, scalar=float(node.const(i).reshape(())), is_int=False)
        else:
            x = op(f"_npi_{name}", x, broadcast(bound, node.shape()) if node.rank() else bound)
    return x


def _fold(name: str, node: Node, inputs: tuple[Symbol, ...]) -> Symbol:
    return reduce(lambda a, b: op(name, a, b), inputs) if len(inputs) > 1 else op("_copy", inputs[0])


@TABLE.rule("Max", since=8)
def maximum(node: Node, *inputs: Symbol) -> Symbol:
    return _fold("_npi_maximum", node, inputs)


@TABLE.rule("Min", since=8)
def minimum(node: Node, *inputs: Symbol) -> Symbol:
    return _fold("_npi_minimum", node, inputs)


@TABLE.rule("Sum", since=8)
def sum_(node: Node, *inputs: Symbol) -> Symbol:
    return _fold("_npi_add", node, inputs)


@TABLE.rule("Mean", since=8)
def mean(node: Node, *inputs: Symbol) -> Symbol:
    return _fold("_npi_add", node, inputs) * (1.0 / len(inputs))


@TABLE.rule("Softmax", since=13)
def softmax(node: Node, x: Symbol) -> Symbol:
    if node.rank() == 0:
        return x * 0.0 + 1.0
    if node.dtype() == "float16" and 0 not in node.spec(0).shape:
        return _rounded_softmax(x, node.axis())
    return op("_npx_softmax", x, axis=node.axis())


def _rounded_softmax(x: Symbol, axis: int) -> Symbol:
    """Softmax in float16, rounded after every operator as the standard's function body is, summed in float32."""
    top = op("_np_max", x, axis=(axis,), keepdims=True)
    powers = op("_npi_exp", op("_npi_subtract", x, op("BlockGrad", top)))
    return op("_npi_true_divide", powers, cast(total(cast(powers, "float32"), (axis,)), "float16"))


@TABLE.rule("LogSoftmax", since=13)
def log_softmax(node: Node, x: Symbol) -> Symbol:
    if node.rank() == 0:
        return x * 0.0
    return log_softmax_of(x, node.axis())


def log_softmax_of(x: Symbol, axis: int) -> Symbol:
    """x - max - log(sum(exp(x - max))). MXNet's own kernel is off by up to 2e-6, a hundred times the rounding of it."""
    shifted = x - op("BlockGrad", op("_np_max", x, axis=axis, keepdims=True))
    return shifted - op("_npi_log", total(op("_npi_exp", shifted), (axis,)))


@TABLE.rule("Hardmax", since=13)
def hardmax(node: Node, x: Symbol) -> Symbol:
    axis, kind = node.axis(), node.dtype()
    place = op("_npi_argmax", op("BlockGrad", x), axis=axis)
    hot = op("_npx_one_hot", place, depth=node.dim(0, axis), dtype=kind)
    order = list(range(node.rank() - 1))
    order.insert(axis, node.rank() - 1)
    return transpose(hot, order) if node.rank() > 1 else hot


@TABLE.rule("Identity", since=1)
def identity(node: Node, x: Symbol) -> Symbol:
    return x


__all__ = ["add", "gelu", "relu", "softplus"]
