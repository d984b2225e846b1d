"""Activations as layers: each calls the function of nn.functional whose name it has, where the formula stands."""

from __future__ import annotations

from typing import final

from polymodel.nn import functional as F
from polymodel.nn import init
from polymodel.nn.checks import expect
from polymodel.nn.module import Module
from polymodel.nn.parameter import Parameter
from polymodel.tensor import Operand, Tensor


@final
class ReLU(Module):
    """functional.relu as a layer: any shape, the same out."""

    def forward(self, x: Operand) -> Tensor:
        """Element by element."""
        return F.relu(x)


@final
class ReLU6(Module):
    """functional.relu6 as a layer: any shape, the same out."""

    def forward(self, x: Operand) -> Tensor:
        """Element by element."""
        return F.relu6(x)


@final
class LeakyReLU(Module):
    """functional.leaky_relu as a layer: any shape, the same out."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, x: Operand) -> Tensor:
        """Element by element."""
        return F.leaky_relu(x, self.negative_slope)


@final
class ELU(Module):
    """functional.elu as a layer: any shape, the same out."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, x: Operand) -> Tensor:
        """Element by element."""
        return F.elu(x, self.alpha)


@final
class CELU(Module):
    """functional.celu as a layer: any shape, the same out."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, x: Operand) -> Tensor:
        """Element by element."""
        return F.celu(x, self.alpha)


@final
class SELU(Module):
    """functional.selu as a layer: any shape, the same out."""

    def forward(self, x: Operand) -> Tensor:
        """Element by element."""
        return F.selu(x)


@final
class GELU(Module):
    """functional.gelu as a layer: any shape, the same out."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, x: Operand) -> Tensor:
        """Element by element."""
        return F.gelu(x, self.approximate)


@final
class SiLU(Module):
    """functional.silu as a layer: any shape, the same out."""

    def forward(self, x: Operand) -> Tensor:
        """Element by element."""
        return F.silu(x)


@final
class Mish(Module):
    """functional.mish as a layer: any shape, the same out."""

    def forward(self, x: Operand) -> Tensor:
        """Element by element."""
        return F.mish(x)


@final
class Sigmoid(Module):
    """functional.sigmoid as a layer: any shape, the same out."""

    def forward(self, x: Operand) -> Tensor:
        """Element by element."""
        return F.sigmoid(x)


@final
class LogSigmoid(Module):
    """functional.logsigmoid as a layer: any shape, the same out."""

    def forward(self, x: Operand) -> Tensor:
        """Element by element."""
        return F.logsigmoid(x)


@final
class Hardsigmoid(Module):
    """functional.hardsigmoid as a layer: any shape, the same out."""

    def forward(self, x: Operand) -> Tensor:
        """Element by element."""
        return F.hardsigmoid(x)


@final
class Hardswish(Module):
    """functional.hardswish as a layer: any shape, the same out."""

    def forward(self, x: Operand) -> Tensor:
        """Element by element."""
        return F.hardswish(x)


@final
class Tanh(Module):
    """functional.tanh as a layer: any shape, the same out."""

    def forward(self, x: Operand) -> Tensor:
        """Element by element."""
        return F.tanh(x)


@final
class Softplus(Module):
    """functional.softplus as a layer: any shape, the same out."""

    def forward(self, x: Operand) -> Tensor:
        """Element by element."""
        return F.softplus(x)


@final
class Softsign(Module):
    """functional.softsign as a layer: any shape, the same out."""

    def forward(self, x: Operand) -> Tensor:
        """Element by element."""
        return F.softsign(x)


@final
class Softmax(Module):
    """functional.softmax as a layer: any shape, the same out."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Operand) -> Tensor:
        """Element by element, except along `dim`."""
        return F.softmax(x, self.dim)


@final
class LogSoftmax(Module):
    """functional.log_softmax as a layer: any shape, the same out."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Operand) -> Tensor:
        """Element by element, except along `dim`."""
        return F.log_softmax(x, self.dim)


@final
class PReLU(Module):
    """x where x >= 0, weight * x elsewhere, with one learned weight or one for each channel (axis 1).

    Parameter `weight` (num_parameters,), 0.25 at the start as torch.nn.PReLU documents it (He et al., 2015).
    """

    def __init__(self, num_parameters: int = 1, start: float = 0.25, dtype: str = "float32") -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.weight = Parameter((num_parameters,), init.constant(start), dtype)

    def forward(self, x: Operand) -> Tensor:
        """(batch, channels, ...), the same shape out."""
        if self.num_parameters == 1:
            return F.prelu(x, self.weight)
        expect(x, axis1=self.num_parameters)
        return F.prelu(x, F.reshape(self.weight, [self.num_parameters] + [1] * (x.rank - 2)))
