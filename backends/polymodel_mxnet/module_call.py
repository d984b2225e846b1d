"""Calling a user's own module with NumPy arrays, in evaluation mode: what `polymodel compare` judges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from polymodel_mxnet.compat import mxnet as mx


def call_module(module: Any, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The outputs of a gluon block, nested ones one after the other.

    Args:
        module: outside of `autograd.record`, so in evaluation mode; initialized already.
        arrays: its arguments in their order.
    """
    return [t.asnumpy() for t in _flat(module(*(mx.nd.array(a, dtype=a.dtype) for a in arrays)))]


def version() -> str:
    """Of the framework."""
    return str(mx.__version__)


def _flat(found: Any) -> Iterator[Any]:
    if isinstance(found, list | tuple):
        for part in found:
            yield from _flat(part)
    else:
        yield found
