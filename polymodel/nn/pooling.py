"""Pooling and flattening layers; see nn.functional for the meaning of the arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from polymodel.errors import ConfigError
from polymodel.nn import functional as F
from polymodel.nn.module import Module
from polymodel.tensor import Operand, Tensor


@final
class MaxPool2d(Module):
    """functional.max_pool2d as a layer.

    Example:
        >>> from polymodel import Model, TensorSpec
        >>> print(Model(MaxPool2d(2), {"x": TensorSpec(("batch", 3, 8, 8))}, ["y"]).graph.specs["y"])
        float32[batch, 3, 4, 4]
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.dilation, self.ceil_mode = dilation, ceil_mode

    def forward(self, x: Operand) -> Tensor:
        """(batch, channels, height, width) -> (batch, channels, height', width')."""
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)


@final
class AvgPool2d(Module):
    """functional.avg_pool2d as a layer."""

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, x: Operand) -> Tensor:
        """(batch, channels, height, width) -> (batch, channels, height', width')."""
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)


@final
class GlobalAvgPool2d(Module):
    """Mean over height and width: (batch, channels, 1, 1)."""

    def forward(self, x: Operand) -> Tensor:
        """(batch, channels, height, width) -> (batch, channels, 1, 1)."""
        return F.global_avg_pool2d(x)


@final
class GlobalMaxPool2d(Module):
    """Largest element over height and width: (batch, channels, 1, 1)."""

    def forward(self, x: Operand) -> Tensor:
        """(batch, channels, height, width) -> (batch, channels, 1, 1)."""
        return F.global_max_pool2d(x)


@final
class AdaptiveAvgPool2d(Module):
    """GlobalAvgPool2d under PyTorch's name; output size 1 only, since ONNX has no operator for other sizes."""

    def __init__(self, output_size: int | Sequence[int] = 1) -> None:
        super().__init__()
        if output_size not in (1, (1, 1), [1, 1]):
            raise ConfigError(f"output_size is 1, received {output_size!r}: use AvgPool2d with a fitting window")

    def forward(self, x: Operand) -> Tensor:
        """(batch, channels, height, width) -> (batch, channels, 1, 1)."""
        return F.global_avg_pool2d(x)


@final
class Flatten(Module):
    """functional.flatten as a layer: (batch, ...) -> (batch, product of the rest)."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Operand) -> Tensor:
        """Join the axes start_dim to end_dim."""
        return F.flatten(x, self.start_dim, self.end_dim)
