"""Calling a user's own module with NumPy arrays, in evaluation mode: what `polymodel compare` judges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch


def call_module(module: Any, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The outputs of a torch.nn.Module, or of a Keras model on PyTorch, nested ones one after the other.

    Args:
        module: is put into evaluation mode.
        arrays: its arguments in their order; a Keras model of several inputs gets them as a list.
    """
    tensors = [torch.from_numpy(np.ascontiguousarray(a)) for a in arrays]
    given = [tensors] if len(tensors) > 1 and len(getattr(module, "inputs", None) or ()) > 1 else tensors
    with torch.no_grad():
        found = module.eval()(*given)
    return [t.detach().cpu().numpy() for t in _flat(found)]


def version() -> str:
    """Of the framework."""
    return str(torch.__version__)


def _flat(found: Any) -> Iterator[torch.Tensor]:
    if isinstance(found, torch.Tensor):
        yield found
    elif found is not None:
        for part in found.values() if isinstance(found, Mapping) else found:
            yield from _flat(part)
