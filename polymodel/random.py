"""Every random number of a run: one counter-based generator, one named stream for each use.

A stream is named by (seed, purpose, name, step), hashed into the key of a Philox4x64-10 generator (Salmon et al.,
"Parallel random numbers: as easy as 1, 2, 3", SC 2011; NumPy's `numpy.random.Philox`). Its bits depend on nothing
else: not on the backend, not on the order of calls, not on threads; so a resumed run draws what an uninterrupted one
would have drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


def generator(seed: int, purpose: str, name: str = "", step: int = 0) -> np.random.Generator:
    """The generator of one stream.

    Args:
        seed: seed of the run.
        purpose: "init", "shuffle", "dropout", ...
        name: parameter, layer or data set.
        step: step or epoch; 0 where there is one draw only.

    Example:
        >>> generator(0, "init", "conv.weight").random() == generator(0, "init", "conv.weight").random()
        True
    """
    digest = hashlib.sha256(f"{seed}\0{purpose}\0{name}\0{step}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def permutation(seed: int, epoch: int, n: int) -> np.ndarray:
    """The order of the samples of one epoch, int64 of shape (n,)."""
    return generator(seed, "shuffle", step=epoch).permutation(n)


def mask(seed: int, name: str, step: int, shape: Sequence[int], rate: float) -> np.ndarray:
    """A dropout mask: bool, True where an element is kept, with probability 1 - rate to within 2^-16.

    Sixteen random bits decide each element.
    """
    count = int(np.prod(shape, dtype=np.int64))
    bits = np.frombuffer(generator(seed, "dropout", name, step).bytes(2 * count), "<u2")
    return (bits >= round(rate * 65536)).reshape(shape)
