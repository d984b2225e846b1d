"""Gradient clipping, applied to all gradients of a step before the update rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias, final

from polymodel.builder import Builder
from polymodel.optim.base import hyper
from polymodel.tensor import Tensor


@final
@dataclass(frozen=True)
class ClipNorm:
    """Scale all gradients by min(1, max_norm / (norm + 1e-6)), norm being the L2 norm of all of them together.

    Pascanu et al., ICML 2013, algorithm 1, with the 1e-6 of torch.nn.utils.clip_grad_norm_.

    Args:
        max_norm: largest L2 norm, > 0.
    """

    max_norm: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_norm", hyper("max_norm", self.max_norm))

    def apply(self, b: Builder, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The clipped gradients."""
        squares = [b.op("ReduceSumSquare", g, keepdims=0) for g in gradients.values()]
        norm = b.op("Sqrt", b.op("Sum", *squares))
        scale = b.op("Min", self.max_norm / (norm + 1e-6), b.constant(1.0, norm.dtype))
        return {n: g * scale for n, g in gradients.items()}


@final
@dataclass(frozen=True)
class ClipValue:
    """Limit every element of every gradient to [-limit, limit], as torch.nn.utils.clip_grad_value_.

    Args:
        limit: largest absolute value, > 0.
    """

    limit: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "limit", hyper("limit", self.limit))

    def apply(self, b: Builder, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The clipped gradients."""
        return {
            n: b.op("Clip", g, b.constant(-self.limit, g.dtype), b.constant(self.limit, g.dtype))
            for n, g in gradients.items()
        }


@final
@dataclass(frozen=True)
class ClipParameterNorm:
    """Scale the gradient of each parameter by min(1, max_norm / (norm + 1e-6)), norm being its own L2 norm.

    Keras calls this clipnorm, and ClipNorm global_clipnorm.

    Args:
        max_norm: largest L2 norm of one gradient, > 0.
    """

    max_norm: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_norm", hyper("max_norm", self.max_norm))

    def apply(self, b: Builder, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The clipped gradients."""
        return {n: ClipNorm(self.max_norm).apply(b, {n: g})[n] for n, g in gradients.items()}


Clip: TypeAlias = ClipNorm | ClipParameterNorm | ClipValue
