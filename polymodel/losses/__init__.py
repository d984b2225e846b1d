"""Losses: what training makes small. Each adds one scalar to a graph, in the standard's own operators."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from polymodel.errors import ConfigError
from polymodel.losses.base import Loss, Reduction
from polymodel.losses.binary import BCE, BCEWithLogits, Focal, Hinge
from polymodel.losses.classes import CategoricalFocal, KLDivergence, MultiMargin
from polymodel.losses.cross_entropy import CrossEntropy
from polymodel.losses.ctc import CTC
from polymodel.losses.embeddings import Cosine, Triplet
from polymodel.losses.regression import MAE, MSE, Huber, SmoothL1

__all__ = [
    "BCE", "CTC", "LOSSES", "MAE", "MSE", "BCEWithLogits", "CategoricalFocal", "Cosine", "CrossEntropy", "Focal", "Hinge",
    "Huber", "KLDivergence", "Loss", "MultiMargin", "Reduction", "SmoothL1", "Triplet", "get",
]

LOSSES: dict[str, type[Loss]] = {
    c.name: c
    for c in (
        CrossEntropy, BCEWithLogits, BCE, Focal, CategoricalFocal, KLDivergence, MSE, MAE, Huber, SmoothL1, Hinge,
        MultiMargin, Cosine, Triplet, CTC,
    )
}


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
