"""Connectionist temporal classification: the likelihood of a label sequence without an alignment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from polymodel.builder import Builder
from polymodel.errors import ConfigError, ShapeError
from polymodel.losses.base import Loss, Reduction, check_reduction, refuse
from polymodel.spec import Dim, TensorSpec
from polymodel.tensor import Tensor

_NEVER = -1e30
"""Logarithm of a probability of zero: finite, so that differences of two of them are numbers."""


@final
@dataclass(frozen=True)
class CTC(Loss):
    """CTC loss (Graves et al., ICML 2006, equations 6 to 8, in logarithms), as torch.nn.CTCLoss on logits.

    The output is (batch, T, C) with logits along the last axis and a known number T of time steps; the forward
    recursion is written out over them. The target is int64 (batch, S): labels, and `padding` behind the last one. As in
    torch, "mean" divides the loss of a sample by its number of labels (at least 1) and takes the mean over samples.

    Args:
        length: S, how many labels a target holds at most.
        blank: label of the blank.
        padding: what stands behind the last label.
        zero_infinity: a sample that has too many labels for T steps counts as 0; if not, the loss is about 1e30.
        reduction: "mean" or "sum".

    Raises:
        ConfigError: an impossible value.

    Example:
        >>> CTC(length=5).target(TensorSpec(("batch", 20, 11)))
        TensorSpec(shape=('batch', 5), dtype='int64')
    """

    name: ClassVar[str] = "ctc"
    length: int
    blank: int = 0
    padding: int = -1
    zero_infinity: bool = False
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        if isinstance(self.length, bool) or not isinstance(self.length, int) or self.length < 1:
            raise ConfigError(f"loss 'ctc': length is an integer of 1 or more, received {self.length!r}")
        if self.padding == self.blank:
            raise ConfigError(f"loss 'ctc': padding and blank are both {self.blank}: they mean different things")
        check_reduction(self)

    def target(self, output: TensorSpec) -> TensorSpec:
        """int64 (batch, length) for an output (batch, steps, classes)."""
        if output.rank != 3 or not isinstance(output.shape[1], int) or not isinstance(output.shape[2], int):
            raise ShapeError(f"ctc needs an output (batch, steps, classes) of known steps and classes, received {output}")
        return TensorSpec((output.shape[0], self.length), "int64")

    def terms(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """Minus the logarithm of the likelihood of each sample, divided by its number of labels for a mean."""
        kind = output.value.dtype.value  # type: ignore[union-attr]
        real = b.op("Not", target == self.padding)
        count = b.op("ReduceSum", b.op("Cast", real, to=_INT64), [1], keepdims=1)
        labels = self._with_blanks(b, b.op("Where", real, target, b.constant(self.blank, "int64")))
        last = self._recursion(b, output, labels)
        ends = b.op("Concat", count * 2, b.op("Max", count * 2 - 1, b.constant(0, "int64")), axis=1)
        final = b.op("GatherElements", last, ends, axis=1)
        empty = b.op("Cast", count == 0, to=kind)  # then both ends are the same place
        second = final[:, 1:2] + empty * _NEVER
        loss = b.op("Squeeze", -_log_sum(b, [final[:, 0:1], second]), [1])
        if self.zero_infinity:
            loss = b.op("Where", loss < -0.5 * _NEVER, loss, b.constant(0.0, output.dtype))
        if self.reduction == "sum":
            return loss
        return loss / b.op("Cast", b.op("Max", b.op("Squeeze", count, [1]), b.constant(1, "int64")), to=kind)

    def check(self, target: np.ndarray, output: TensorSpec) -> None:
        """Labels are in [0, classes), none is the blank, and padding stands at the end only."""
        classes = output.shape[2]
        real = target != self.padding
        bad = real & ((target < 0) | (target == self.blank) | (target >= (classes if isinstance(classes, int) else np.inf)))
        refuse(target, bad, f"out of range: expected 0 to {classes} (excluded), not the blank {self.blank}, or "
               f"{self.padding} (padding)", "label")
        gap = real.copy()
        gap[:, 1:] &= ~real[:, :-1]
        gap[:, :1] = False
        refuse(target, gap, f"behind padding ({self.padding}): labels come first", "label")

    # -- inner ------------------------------------------------------------------------------------------------------

    def _with_blanks(self, b: Builder, labels: Tensor) -> Tensor:
        """blank, l_1, blank, ..., l_S, blank: (batch, 2 S + 1)."""
        blanks = labels * 0 + self.blank
        pairs = b.op("Concat", b.op("Unsqueeze", blanks, [2]), b.op("Unsqueeze", labels, [2]), axis=2)
        flat = b.op("Reshape", pairs, np.array([0, 2 * self.length], np.int64))
        return b.op("Concat", flat, blanks[:, 0:1], axis=1)

    def _recursion(self, b: Builder, output: Tensor, labels: Tensor) -> Tensor:
        """log alpha of the last step: (batch, 2 S + 1)."""
        steps: Dim = output.shape[1]
        assert isinstance(steps, int)
        log_p = b.op("LogSoftmax", output, axis=-1)
        kind = output.value.dtype.value  # type: ignore[union-attr]
        moved = b.op("Pad", labels[:, :-2], np.array([0, 2, 0, 0], np.int64), b.constant(self.blank, "int64"))
        skips = b.op("And", b.op("Not", labels == self.blank), b.op("Not", labels == moved))
        blocked = (1.0 - b.op("Cast", skips, to=kind)) * _NEVER
        zeros = b.op("Cast", labels * 0, to=kind)
        start = b.constant(np.array([0.0, 0.0, *[_NEVER] * (2 * self.length - 1)], np.dtype(output.dtype)))
        alpha = zeros + start + self._emission(b, log_p, labels, 0)
        for step in range(1, steps):
            paths = [alpha, _shifted(b, alpha, 1), _shifted(b, alpha, 2) + blocked]
            alpha = _log_sum(b, paths) + self._emission(b, log_p, labels, step)
        return alpha

    def _emission(self, b: Builder, log_p: Tensor, labels: Tensor, step: int) -> Tensor:
        return b.op("GatherElements", log_p[:, step], labels, axis=1)


_INT64 = 7  # onnx.TensorProto.INT64


def _shifted(b: Builder, x: Tensor, by: int) -> Tensor:
    return b.op("Pad", x[:, :-by], np.array([0, by, 0, 0], np.int64), b.constant(_NEVER, x.dtype))


def _log_sum(b: Builder, parts: list[Tensor]) -> Tensor:
    """Logarithm of the sum of exponentials."""
    stacked = b.op("Concat", *(b.op("Unsqueeze", part, [0]) for part in parts), axis=0)
    return b.op("ReduceLogSumExp", stacked, [0], keepdims=0)
