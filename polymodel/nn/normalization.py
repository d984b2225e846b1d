"""Normalisation layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from polymodel.builder import current_builder
from polymodel.nn import functional as F
from polymodel.nn import init
from polymodel.nn.checks import expect
from polymodel.nn.module import Module
from polymodel.nn.parameter import Buffer, Parameter
from polymodel.tensor import Operand, Tensor


@final
class BatchNorm2d(Module):
    """Normalise each channel of (batch, channels, height, width) over the batch and space.

    y = (x - mean) / sqrt(variance + eps) * weight + bias. Training uses mean and biased variance of the batch and
    updates the buffers ``running = (1 - momentum) * running + momentum * batch`` with the *biased* variance, as ONNX
    BatchNormalization defines it (PyTorch puts the unbiased one there). Inference uses the buffers. Source: Ioffe and
    Szegedy, 2015, alg. 1 and 2.

    A layer whose parameters are all frozen normalises with its running statistics and leaves them as they are also in
    training, as Keras does.

    Parameters `weight` (ones) and `bias` (zeros), buffers `running_mean` (zeros) and `running_var` (ones), all
    (num_features,).

    Args:
        num_features: channels.
        eps: added to the variance.
        momentum: weight of the new batch, PyTorch's convention; ONNX's attribute is 1 - momentum.
        affine: False leaves weight and bias out.
        dtype: of parameters, buffers, input and output.

    Raises:
        ShapeError: the input has another number of axes or channels.

    Example:
        >>> from polymodel import Model, TensorSpec
        >>> model = Model(BatchNorm2d(3), {"x": TensorSpec(("batch", 3, 8, 8))}, ["y"])
        >>> sorted(model.values)
        ['bias', 'running_mean', 'running_var', 'weight']
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True, dtype: str = "float32"
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = Parameter((num_features,), init.ones, dtype) if affine else None
        self.bias = Parameter((num_features,), init.zeros, dtype) if affine else None
        self.running_mean = Buffer(np.zeros(num_features, dtype))
        self.running_var = Buffer(np.ones(num_features, dtype))

    def forward(self, x: Operand) -> Tensor:
        """(batch, channels, height, width), the same shape out."""
        x = expect(x, rank=4, dtype=self.running_mean.dtype, axis1=self.num_features)
        return _batch_norm(x, self.weight, self.bias, self.running_mean, self.running_var, self.eps, self.momentum)


@final
class BatchNorm1d(Module):
    """BatchNorm2d for (batch, channels) or (batch, channels, length).

    Example:
        >>> from polymodel import Model, TensorSpec
        >>> print(Model(BatchNorm1d(3), {"x": TensorSpec(("batch", 3))}, ["y"]).graph.specs["y"])
        float32[batch, 3]
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True, dtype: str = "float32"
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = Parameter((num_features,), init.ones, dtype) if affine else None
        self.bias = Parameter((num_features,), init.zeros, dtype) if affine else None
        self.running_mean = Buffer(np.zeros(num_features, dtype))
        self.running_var = Buffer(np.ones(num_features, dtype))

    def forward(self, x: Operand) -> Tensor:
        """(batch, channels) or (batch, channels, length), the same shape out."""
        x = expect(x, rank=(2, 3), dtype=self.running_mean.dtype, axis1=self.num_features)
        return _batch_norm(x, self.weight, self.bias, self.running_mean, self.running_var, self.eps, self.momentum)


@final
class LayerNorm(Module):
    """Normalise the last axes of each sample; see functional.layer_norm.

    Parameters `weight` (ones) and `bias` (zeros), both of shape normalized_shape.

    Args:
        normalized_shape: size of the last axis, or sizes of the last axes.
        eps: added to the variance.
        bias: whether there is a bias.
        dtype: of parameters, input and output.

    Example:
        >>> from polymodel import Model, TensorSpec
        >>> print(Model(LayerNorm(4), {"x": TensorSpec(("batch", 7, 4))}, ["y"]).graph.specs["y"])
        float32[batch, 7, 4]
    """

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float = 1e-5, bias: bool = True, dtype: str = "float32"
    ) -> None:
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape, self.eps = shape, eps
        self.weight = Parameter(shape, init.ones, dtype)
        self.bias = Parameter(shape, init.zeros, dtype) if bias else None

    def forward(self, x: Operand) -> Tensor:
        """(..., *normalized_shape), the same shape out."""
        axes = {f"axis{i - len(self.normalized_shape)}": size for i, size in enumerate(self.normalized_shape)}
        x = expect(x, dtype=self.weight.dtype, **axes)
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)


def _batch_norm(
    x: Tensor,
    weight: Parameter | None,
    bias: Parameter | None,
    mean: Buffer,
    var: Buffer,
    eps: float,
    momentum: float,
) -> Tensor:
    b = current_builder()
    scale = weight if weight is not None else np.ones_like(mean.value)
    shift = bias if bias is not None else np.zeros_like(mean.value)
    owned = [p for p in (weight, bias) if p is not None]
    if not b.training or (owned and all(p.frozen for p in owned)):
        return b.op("BatchNormalization", x, scale, shift, mean, var, epsilon=eps)
    y, new_mean, new_var = b.ops(
        "BatchNormalization", x, scale, shift, mean, var, outputs=3, epsilon=eps, momentum=1 - momentum, training_mode=1
    )
    mean.update(new_mean)
    var.update(new_var)
    return y
