"""Losses: what training makes small. Each adds one scalar to a graph, in the standard's own operators."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import numpy as np

from polymodel.builder import current_builder
from polymodel.errors import ConfigError, ShapeError
from polymodel.losses.base import Loss, Reduction
from polymodel.losses.binary import BCE, BCEWithLogits, Focal, Hinge
from polymodel.losses.classes import CategoricalFocal, KLDivergence, MultiMargin
from polymodel.losses.cross_entropy import CrossEntropy
from polymodel.losses.ctc import CTC
from polymodel.losses.embeddings import Cosine, Triplet
from polymodel.losses.regression import MAE, MSE, Huber, SmoothL1
from polymodel.spec import numpy_dtype
from polymodel.tensor import Operand, Tensor

__all__ = [
    "BCE", "CTC", "LOSSES", "MAE", "MSE", "BCEWithLogits", "CategoricalFocal", "Cosine", "CrossEntropy", "Focal", "Hinge",
    "Huber", "KLDivergence", "Loss", "MultiMargin", "Reduction", "SmoothL1", "Triplet", "apply",
    "get",
]

LOSSES: dict[str, type[Loss]] = {
    c.name: c
    for c in (
        CrossEntropy, BCEWithLogits, BCE, Focal, CategoricalFocal, KLDivergence, MSE, MAE, Huber, SmoothL1, Hinge,
        MultiMargin, Cosine, Triplet, CTC,
    )
}


def apply(loss: str | Mapping[str, Any] | Loss, output: Tensor, target: Operand | float, weight: Tensor | None = None) -> Tensor:
    """A loss of tensors while a graph is being built: in a phase of a TrainStep, or in a module.

    Args:
        loss: as for `get`.
        output: what a model returned.
        target: a tensor, or a number that stands for a target full of it.
        weight: of each sample, (batch,).

    Returns:
        A scalar tensor.

    Raises:
        ShapeError, DtypeError: the target does not fit the output.
    """
    made, b = get(loss), current_builder()
    want = made.target(output.spec)
    if isinstance(target, int | float):
        full = np.asarray(target, numpy_dtype(want.dtype))
        target = b.op("Expand", full, b.op("Shape", output))
    given = target.tensor()
    if given.rank != want.rank or given.dtype != want.dtype:
        raise ShapeError(f"loss {made.name!r} of an output {output.spec} wants a target {want}, received {given.spec}")
    with b.scope("loss"):  # mixed precision leaves what stands there in float32
        return made.build(b, output, given, weight)


def get(loss: str | Mapping[str, Any] | Loss) -> Loss:
    """The loss of a name, of a name with arguments, or the loss itself.

    Raises:
        ConfigError: the name or an argument is unknown.

    Example:
        >>> get({"name": "cross_entropy", "label_smoothing": 0.1}).label_smoothing
        0.1
    """
    if isinstance(loss, Loss):
        return loss
    if not isinstance(loss, str | Mapping):
        raise ConfigError(f"a loss is a name, a mapping with a key 'name' or a Loss, received {loss!r}")
    options = {"name": loss} if isinstance(loss, str) else dict(loss)
    name = options.pop("name", None)
    if name not in LOSSES:
        close = difflib.get_close_matches(str(name), LOSSES, n=1)
        hint = f" did you mean {close[0]!r}?" if close else ""
        raise ConfigError(f"unknown loss {name!r};{hint} expected one of {', '.join(LOSSES)}")
    try:
        return LOSSES[name](**options)
    except TypeError as error:
        raise ConfigError(f"loss {name!r}: {error}") from None
