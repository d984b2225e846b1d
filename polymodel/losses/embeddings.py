"""Losses of vectors that stand for samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from polymodel.builder import Builder
from polymodel.errors import ConfigError, ShapeError
from polymodel.losses.base import Loss, Reduction, check_finite, check_reduction, positive, reduced, refuse, weighted
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor


@final
@dataclass(frozen=True)
class Cosine(Loss):
    """1 - cos(output, target) along axis 1, averaged over what is left.

    cos = x t / (max(|x|, eps) max(|t|, eps)), as torch.nn.functional.cosine_similarity; keras.losses.CosineSimilarity is
    this minus one. The target has the shape and dtype of the output (batch, features, ...).

    Args:
        eps: smallest length, > 0.
        reduction: "mean" or "sum".
    """

    name: ClassVar[str] = "cosine"
    eps: float = 1e-8
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        positive(self, "eps", self.eps)
        check_reduction(self)

    def target(self, output: TensorSpec) -> TensorSpec:
        """As the output (batch, features, ...)."""
        if output.rank < 2:
            raise ShapeError(f"cosine needs an output (batch, features, ...), received {output}")
        return output

    def terms(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """One product and two lengths."""
        product = b.op("ReduceSum", output * target, [1], keepdims=0)
        return 1.0 - product / (self._length(b, output) * self._length(b, target))

    def _length(self, b: Builder, x: Tensor) -> Tensor:
        square = b.op("ReduceSumSquare", x, [1], keepdims=0)
        return b.op("Sqrt", b.op("Max", square, b.constant(float(self.eps) ** 2, x.dtype)))

    def check(self, target: np.ndarray, output: TensorSpec) -> None:
        """Targets are finite."""
        check_finite(target)


@final
@dataclass(frozen=True)
class Triplet(Loss):
    """Triplet loss of embeddings with labels (Schroff et al., "FaceNet", 2015), triplets taken from within the batch.

    With d(a, b) the Euclidean distance of two rows of the output:

        "hard": mean over anchors a of max(0, margin + max_p d(a, p) - min_n d(a, n))   (Hermans et al., 2017, equation 5)
        "all":  mean over all triplets (a, p, n) of max(0, margin + d(a, p) - d(a, n))  (equation 4, as a mean)

    where p has the label of a and is another sample, and n has a different label. Anchors without p or n do not count; a
    batch without any triplet has the loss 0. The output is (batch, features), the target int64 (batch,).

    A part of a batch has other triplets than the whole, so this loss cannot be accumulated.

    Args:
        margin: > 0.
        mining: "hard" or "all"; the memory for "all" grows with the third power of the batch.
        reduction: "mean" or "sum".
    """

    name: ClassVar[str] = "triplet"
    margin: float = 1.0
    mining: str = "hard"
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        positive(self, "margin", self.margin)
        if self.mining not in ("hard", "all"):
            raise ConfigError(f"loss 'triplet': mining is 'hard' or 'all', received {self.mining!r}")
        check_reduction(self)

    def target(self, output: TensorSpec) -> TensorSpec:
        """int64 (batch,) for an output (batch, features)."""
        if output.rank != 2:
            raise ShapeError(f"triplet needs an output (batch, features), received {output}")
        return TensorSpec((output.shape[0],), "int64")

    def terms(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """One term for each anchor, 0 where it has no triplet, not yet divided by how many count."""
        return self._anchors(b, output, target)[0]

    def build(self, b: Builder, output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """The mean is over anchors, or triplets, that count."""
        terms, counts = self._anchors(b, output, target)
        total = b.op("ReduceSum", weighted(b, terms, weight), keepdims=0)
        if self.reduction == "sum":
            return total
        return total / b.op("Max", reduced(b, counts, "sum"), b.constant(1.0, output.dtype))

    def amount(self, target: np.ndarray) -> float:
        """Refused."""
        raise ConfigError("loss 'triplet' takes its triplets from the whole batch: it cannot be accumulated over parts or devices")

    def _anchors(self, b: Builder, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Terms and how many count for each anchor."""
        distance, eye = _distances(b, output)
        same = b.op("Unsqueeze", target, [0]) == b.op("Unsqueeze", target, [1])
        kind = output.value.dtype.value  # type: ignore[union-attr]
        alike = b.op("Cast", same, to=kind)
        other = 1.0 - alike
        positive = alike - eye
        if self.mining == "hard":
            far = b.op("ReduceMax", distance * positive, [1], keepdims=0)
            near = b.op("ReduceMin", distance + alike * _FAR, [1], keepdims=0)
            some = (b.op("ReduceSum", x, [1], keepdims=0) > 0.5 for x in (positive, other))
            counts = b.op("Cast", b.op("And", *some), to=kind)
            return b.op("Relu", far - near + float(self.margin)) * counts, counts
        gap = b.op("Unsqueeze", distance, [2]) - b.op("Unsqueeze", distance, [1]) + float(self.margin)
        valid = b.op("Unsqueeze", positive, [2]) * b.op("Unsqueeze", other, [1])
        terms = b.op("Relu", gap) * valid
        return b.op("ReduceSum", terms, [1, 2], keepdims=0), b.op("ReduceSum", valid, [1, 2], keepdims=0)

    def check(self, target: np.ndarray, output: TensorSpec) -> None:
        """Labels are not negative."""
        refuse(target, target < 0, "negative: expected 0 or more", "label")


_FAR = 1e30
"""More than any distance."""


def _distances(b: Builder, x: Tensor) -> tuple[Tensor, Tensor]:
    """Euclidean distances of all pairs of rows, and the identity matrix; equal rows have distance 0 and no derivative."""
    difference = b.op("Unsqueeze", x, [1]) - b.op("Unsqueeze", x, [0])
    square = b.op("ReduceSumSquare", difference, [2], keepdims=0)
    eye, one = b.op("EyeLike", square), b.constant(1.0, x.dtype)
    filled = square + eye
    apart = filled > 0.0
    root = b.op("Where", apart, b.op("Sqrt", b.op("Where", apart, filled, one)), b.constant(0.0, x.dtype))
    return root - eye, eye
