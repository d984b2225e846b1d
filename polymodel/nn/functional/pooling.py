"""Pooling over windows or over all of space: x is (batch, channels, height, width)."""

from __future__ import annotations

from collections.abc import Sequence

from polymodel.builder import current_builder
from polymodel.nn.checks import expect, expect_window, pair
from polymodel.tensor import Operand, Tensor


def max_pool2d(
    x: Operand,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """Largest element of each window.

    Args:
        x: input.
        kernel_size: size of the window, for both axes or for each.
        stride: step of the window; kernel_size when None.
        padding: border on both sides that no window prefers.
        dilation: distance of the window's elements.
        ceil_mode: a last window that is not full counts too.
    """
    expect(x, rank=4)
    kernel, dilations = pair(kernel_size, 2, "kernel_size"), pair(dilation, 2, "dilation")
    pads = pair(padding, 2, "padding") * 2
    expect_window(x, kernel, pads, dilations)
    return current_builder().op(
        "MaxPool",
        x,
        kernel_shape=kernel,
        strides=kernel if stride is None else pair(stride, 2, "stride"),
        pads=pads,
        dilations=dilations,
        ceil_mode=int(ceil_mode),
    )


def avg_pool2d(
    x: Operand,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Mean of each window.

    Args:
        x: input.
        kernel_size: size of the window, for both axes or for each.
        stride: step of the window; kernel_size when None.
        padding: border of zeros on both sides.
        ceil_mode: a last window that is not full counts too.
        count_include_pad: the zeros of the border count as elements.
    """
    expect(x, rank=4)
    kernel, pads = pair(kernel_size, 2, "kernel_size"), pair(padding, 2, "padding") * 2
    expect_window(x, kernel, pads, [1, 1])
    return current_builder().op(
        "AveragePool",
        x,
        kernel_shape=kernel,
        strides=kernel if stride is None else pair(stride, 2, "stride"),
        pads=pads,
        ceil_mode=int(ceil_mode),
        count_include_pad=int(count_include_pad),
    )


def global_avg_pool2d(x: Operand) -> Tensor:
    """Mean over height and width: (batch, channels, 1, 1)."""
    return current_builder().op("GlobalAveragePool", expect(x, rank=4))


def global_max_pool2d(x: Operand) -> Tensor:
    """Largest element over height and width: (batch, channels, 1, 1)."""
    return current_builder().op("GlobalMaxPool", expect(x, rank=4))
