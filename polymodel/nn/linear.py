"""The fully connected layer."""

from __future__ import annotations

from typing import final

from polymodel.nn import functional as F
from polymodel.nn import init
from polymodel.nn.checks import expect
from polymodel.nn.module import Module
from polymodel.nn.parameter import Parameter
from polymodel.tensor import Operand, Tensor


@final
class Linear(Module):
    """y = x W^T + b over the last axis.

    Input (..., in_features), output (..., out_features). Parameters `weight` (out_features, in_features) and `bias`
    (out_features,), both uniform in +-1/sqrt(in_features) as torch.nn.Linear documents it.

    Args:
        in_features: size of the last axis of the input.
        out_features: size of the last axis of the output.
        bias: whether there is a bias.
        dtype: of parameters, input and output.

    Raises:
        ShapeError: the last axis of the input has another size.

    Example:
        >>> from polymodel import Model, TensorSpec
        >>> print(Model(Linear(4, 2), {"x": TensorSpec(("batch", 7, 4))}, ["y"]).graph.specs["y"])
        float32[batch, 7, 2]
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, dtype: str = "float32") -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        start = init.fan_in_uniform(in_features)
        self.weight = Parameter((out_features, in_features), start, dtype)
        self.bias = Parameter((out_features,), start, dtype) if bias else None

    def forward(self, x: Operand) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        x = expect(x, dtype=self.weight.dtype, last=self.in_features)
        return F.linear(x, self.weight, self.bias)
