"""Elementwise nonlinearities, and softmax. All keep shape and dtype; all take floating-point tensors."""

from __future__ import annotations

from polymodel.builder import current_builder
from polymodel.errors import ConfigError
from polymodel.tensor import Operand, Tensor


def relu(x: Operand) -> Tensor:
    """max(x, 0)."""
    return current_builder().op("Relu", x)


def relu6(x: Operand) -> Tensor:
    """min(max(x, 0), 6)."""
    return current_builder().op("Clip", x, 0.0, 6.0)


def leaky_relu(x: Operand, negative_slope: float = 0.01) -> Tensor:
    """x where x >= 0, negative_slope * x elsewhere."""
    return current_builder().op("LeakyRelu", x, alpha=negative_slope)


def prelu(x: Operand, weight: Operand) -> Tensor:
    """x where x >= 0, weight * x elsewhere; weight is broadcast to x from its last axis."""
    return current_builder().op("PRelu", x, weight)


def elu(x: Operand, alpha: float = 1.0) -> Tensor:
    """x where x > 0, alpha * (exp(x) - 1) elsewhere."""
    return current_builder().op("Elu", x, alpha=alpha)


def celu(x: Operand, alpha: float = 1.0) -> Tensor:
    """max(0, x) + min(0, alpha * (exp(x / alpha) - 1))."""
    return current_builder().op("Celu", x, alpha=alpha)


def selu(x: Operand) -> Tensor:
    """scale * elu(x, alpha) with the constants of Klambauer et al., "Self-normalizing neural networks", 2017."""
    return current_builder().op("Selu", x)


def gelu(x: Operand, approximate: str = "none") -> Tensor:
    """x * Phi(x) with the normal distribution function; approximate="tanh" takes its tanh approximation.

    Source: Hendrycks and Gimpel, "Gaussian error linear units", 2016; ONNX Gelu.
    """
    if approximate not in ("none", "tanh"):
        raise ConfigError(f"approximate is 'none' or 'tanh', received {approximate!r}")
    return current_builder().op("Gelu", x, approximate=approximate)


def silu(x: Operand) -> Tensor:
    """x * sigmoid(x), also called swish."""
    return x * sigmoid(x)


def mish(x: Operand) -> Tensor:
    """x * tanh(softplus(x)) (Misra, 2019; ONNX Mish)."""
    return current_builder().op("Mish", x)


def sigmoid(x: Operand) -> Tensor:
    """1 / (1 + exp(-x))."""
    return current_builder().op("Sigmoid", x)


def logsigmoid(x: Operand) -> Tensor:
    """log(sigmoid(x)), computed as -softplus(-x)."""
    return -softplus(-x)


def hardsigmoid(x: Operand) -> Tensor:
    """max(0, min(1, x / 6 + 1/2))."""
    return current_builder().op("HardSigmoid", x, alpha=1 / 6, beta=0.5)


def hardswish(x: Operand) -> Tensor:
    """x * hardsigmoid(x) (Howard et al., "Searching for MobileNetV3", 2019; ONNX HardSwish)."""
    return current_builder().op("HardSwish", x)


def tanh(x: Operand) -> Tensor:
    """Hyperbolic tangent."""
    return current_builder().op("Tanh", x)


def softplus(x: Operand) -> Tensor:
    """log(1 + exp(x))."""
    return current_builder().op("Softplus", x)


def softsign(x: Operand) -> Tensor:
    """x / (1 + |x|)."""
    return current_builder().op("Softsign", x)


def softmax(x: Operand, dim: int = -1) -> Tensor:
    """exp(x) divided by its sum over one axis."""
    return current_builder().op("Softmax", x, axis=dim)


def log_softmax(x: Operand, dim: int = -1) -> Tensor:
    """log(softmax(x, dim))."""
    return current_builder().op("LogSoftmax", x, axis=dim)
