"""Normalisation without state."""

from __future__ import annotations

from collections.abc import Sequence

from polymodel.builder import current_builder
from polymodel.tensor import Operand, Tensor


def layer_norm(
    x: Operand, normalized_shape: Sequence[int], weight: Operand, bias: Operand | None = None, eps: float = 1e-5
) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias, over the last axes of each sample.

    The variance is the biased one. Source: Ba et al., "Layer normalization", 2016; ONNX LayerNormalization.

    Args:
        x: (..., *normalized_shape).
        normalized_shape: sizes of the last axes.
        weight: of shape normalized_shape.
        bias: of shape normalized_shape, or None.
        eps: added to the variance.
    """
    return current_builder().op("LayerNormalization", x, weight, bias, axis=-len(normalized_shape), epsilon=eps)
