"""Convolution in the layout of ONNX: (batch, channels, *space), weight (out, in / groups, *kernel)."""

from __future__ import annotations

from collections.abc import Sequence

from polymodel.builder import current_builder
from polymodel.errors import ConfigError, ShapeError
from polymodel.nn.checks import expect_window, pair
from polymodel.tensor import Operand, Tensor


def conv1d(
    x: Operand,
    weight: Operand,
    bias: Operand | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation over one axis: x (batch, in, length), weight (out, in / groups, kernel)."""
    return convolve(1, x, weight, bias, stride, padding, dilation, groups)


def conv2d(
    x: Operand,
    weight: Operand,
    bias: Operand | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation over two axes: x (batch, in, height, width), weight (out, in / groups, kernel, kernel)."""
    return convolve(2, x, weight, bias, stride, padding, dilation, groups)


def conv_transpose2d(
    x: Operand,
    weight: Operand,
    bias: Operand | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """The transpose of conv2d in its input (ONNX ConvTranspose): x (batch, in, height, width), weight (in, out / groups, k, k).

    A size s becomes (s - 1) * stride - 2 * padding + dilation * (k - 1) + output_padding + 1, as in torch.nn.functional.

    Args:
        x: input.
        weight: kernels; those of the conv2d that it is the transpose of.
        bias: (out,) or None.
        stride: distance that one step in the input has in the output.
        padding: what is cut off at both ends of every axis.
        output_padding: what is added at the end of every axis.
        groups: channels are convolved in so many separate groups.
        dilation: distance of the kernel's elements.
    """
    if x.rank != 4:
        raise ShapeError(f"expected 4 axes (batch, channels, height, width), received {x.spec}")
    return current_builder().op(
        "ConvTranspose",
        x,
        weight,
        bias,
        kernel_shape=[k for k in weight.shape[2:] if isinstance(k, int)],
        strides=pair(stride, 2, "stride"),
        pads=pair(padding, 2, "padding") * 2,
        output_padding=pair(output_padding, 2, "output_padding"),
        dilations=pair(dilation, 2, "dilation"),
        group=groups,
    )


def convolve(
    n: int,
    x: Operand,
    weight: Operand,
    bias: Operand | None,
    stride: int | Sequence[int],
    padding: int | str | Sequence[int],
    dilation: int | Sequence[int],
    groups: int,
) -> Tensor:
    """Cross-correlation over n axes (ONNX Conv).

    Args:
        n: number of spatial axes.
        x: input.
        weight: kernels.
        bias: (out,) or None.
        stride: step of the window, for all axes or for each.
        padding: zeros at both ends of every axis, for all axes or for each; "valid" for none, "same" for as many as
            keep the size (stride 1; the odd zero goes to the end, as in PyTorch).
        dilation: distance of the kernel's elements.
        groups: channels are convolved in so many separate groups.

    Returns:
        (batch, out, *space).
    """
    if x.rank != n + 2:
        raise ShapeError(f"expected {n + 2} axes (batch, channels and {n} of space), received {x.spec}")
    kernel = [k for k in weight.shape[2:] if isinstance(k, int)]
    strides, dilations = pair(stride, n, "stride"), pair(dilation, n, "dilation")
    pads = _pads(padding, kernel, strides, dilations)
    expect_window(x, kernel, pads, dilations)
    return current_builder().op(
        "Conv",
        x,
        weight,
        bias,
        kernel_shape=kernel,
        strides=strides,
        pads=pads,
        dilations=dilations,
        group=groups,
    )


def _pads(padding: int | str | Sequence[int], kernel: list[int], strides: list[int], dilations: list[int]) -> list[int]:
    if padding == "valid":
        return [0] * 2 * len(kernel)
    if padding == "same":
        if any(s != 1 for s in strides):
            raise ConfigError(f"padding='same' needs stride 1, received {strides}: give the padding as numbers")
        total = [d * (k - 1) for k, d in zip(kernel, dilations, strict=True)]
        return [t // 2 for t in total] + [t - t // 2 for t in total]
    if isinstance(padding, str):
        raise ConfigError(f"padding is a number, one for each axis, 'same' or 'valid'; received {padding!r}")
    return pair(padding, len(kernel), "padding") * 2
