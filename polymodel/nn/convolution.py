"""Convolution layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

from polymodel.errors import ConfigError
from polymodel.nn import functional as F
from polymodel.nn import init
from polymodel.nn.checks import expect, pair
from polymodel.nn.module import Module
from polymodel.nn.parameter import Parameter
from polymodel.tensor import Operand, Tensor


@final
class Conv2d(Module):
    """Cross-correlation of (batch, in_channels, height, width) with learned kernels.

    Parameters `weight` (out_channels, in_channels / groups, height, width) and `bias` (out_channels,), both uniform in
    +-1/sqrt(fan_in), fan_in = in_channels / groups * kernel height * kernel width, as torch.nn.Conv2d documents it.

    Args:
        in_channels: size of axis 1 of the input.
        out_channels: size of axis 1 of the output.
        kernel_size: of both axes or of each.
        stride: step of the window.
        padding: zeros at both ends of each axis, or "same" or "valid".
        dilation: distance of the kernel's elements.
        groups: channels are convolved in so many separate groups.
        bias: whether there is a bias.
        dtype: of parameters, input and output.

    Raises:
        ShapeError: the input has another number of axes or channels.

    Example:
        >>> from polymodel import Model, TensorSpec
        >>> model = Model(Conv2d(1, 16, 3, padding=1), {"x": TensorSpec(("batch", 1, 8, 8))}, ["y"])
        >>> print(model.graph.specs["y"])
        float32[batch, 16, 8, 8]
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | str | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        dtype: str = "float32",
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        kernel = pair(kernel_size, 2, "kernel_size")
        self.weight, self.bias = _kernels(in_channels, out_channels, kernel, groups, bias, dtype)

    def forward(self, x: Operand) -> Tensor:
        """(batch, in_channels, height, width) -> (batch, out_channels, height', width')."""
        x = expect(x, rank=4, dtype=self.weight.dtype, axis1=self.in_channels)
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


@final
class Conv1d(Module):
    """Cross-correlation of (batch, in_channels, length) with learned kernels; arguments and start as in Conv2d.

    Example:
        >>> from polymodel import Model, TensorSpec
        >>> print(Model(Conv1d(3, 5, 4, stride=2), {"x": TensorSpec(("batch", 3, 10))}, ["y"]).graph.specs["y"])
        float32[batch, 5, 4]
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | str | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        dtype: str = "float32",
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        kernel = pair(kernel_size, 1, "kernel_size")
        self.weight, self.bias = _kernels(in_channels, out_channels, kernel, groups, bias, dtype)

    def forward(self, x: Operand) -> Tensor:
        """(batch, in_channels, length) -> (batch, out_channels, length')."""
        x = expect(x, rank=3, dtype=self.weight.dtype, axis1=self.in_channels)
        return F.conv1d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


@final
class ConvTranspose2d(Module):
    """The transpose of a convolution: (batch, in_channels, height, width) with learned kernels onto a larger picture.

    Parameters `weight` (in_channels, out_channels / groups, height, width) and `bias` (out_channels,), both uniform in
    +-1/sqrt(n), n = out_channels / groups * kernel height * kernel width, as torch.nn.ConvTranspose2d starts them.

    Args:
        in_channels: size of axis 1 of the input.
        out_channels: size of axis 1 of the output.
        kernel_size: of both axes or of each.
        stride: distance that one step in the input has in the output.
        padding: what is cut off at both ends of each axis.
        output_padding: what is added at the end of each axis.
        groups: channels are convolved in so many separate groups.
        bias: whether there is a bias.
        dilation: distance of the kernel's elements.
        dtype: of parameters, input and output.

    Raises:
        ShapeError: the input has another number of axes or channels.

    Example:
        >>> from polymodel import Model, TensorSpec
        >>> model = Model(ConvTranspose2d(8, 3, 4, stride=2, padding=1), {"x": TensorSpec(("batch", 8, 7, 7))}, ["y"])
        >>> print(model.graph.specs["y"])
        float32[batch, 3, 14, 14]
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        output_padding: int | Sequence[int] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Sequence[int] = 1,
        dtype: str = "float32",
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.stride, self.padding, self.output_padding = stride, padding, output_padding
        self.groups, self.dilation = groups, dilation
        kernel = pair(kernel_size, 2, "kernel_size")
        self.weight, turned = _kernels(out_channels, in_channels, kernel, groups, bias, dtype)
        self.bias = None if turned is None else Parameter((out_channels,), turned.init, dtype)

    def forward(self, x: Operand) -> Tensor:
        """(batch, in_channels, height, width) -> (batch, out_channels, height', width')."""
        x = expect(x, rank=4, dtype=self.weight.dtype, axis1=self.in_channels)
        return F.conv_transpose2d(
            x, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )


def _kernels(
    in_channels: int, out_channels: int, kernel: Sequence[int], groups: int, bias: bool, dtype: str
) -> tuple[Parameter, Parameter | None]:
    if groups < 1 or in_channels % groups or out_channels % groups:
        raise ConfigError(f"groups must divide the channels in {in_channels} and out {out_channels}, received {groups}")
    start = init.fan_in_uniform(in_channels // groups * math.prod(kernel))
    weight = Parameter((out_channels, in_channels // groups, *kernel), start, dtype)
    return weight, Parameter((out_channels,), start, dtype) if bias else None
