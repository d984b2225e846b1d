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


def normal(seed: int, name: str, step: int, shape: Sequence[int]) -> np.ndarray:
    """Standard normal numbers, float32 of a shape, for what a step draws (the input of a generator, a VAE's sample)."""
    return generator(seed, "normal", name, step).standard_normal(tuple(shape), np.float32)


_ROUND = (np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157))
_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


def rows(seed: int, purpose: str, name: str, step: int, numbers: np.ndarray, width: int) -> np.ndarray:
    """Uniform numbers in [0, 1) for some samples of a data set: those of a sample do not depend on which others there are.

    Row i holds what NumPy's Philox of the stream's key draws from the counter (0, numbers[i], 0, 0) on, computed for all
    rows at once.

    Args:
        seed: seed of the run.
        purpose: "augment", ...
        name: of the transform.
        step: pass over the data set.
        numbers: integers (n,) of 0 or more, the samples' places in the whole data set.
        width: numbers for each sample.

    Returns:
        float64 (n, width), multiples of 2^-53.

    Example:
        >>> some, all = (rows(0, "augment", "crop", 3, np.array(n), 2) for n in ([7], [5, 6, 7]))
        >>> bool((some[0] == all[2]).all())
        True
    """
    if not width:
        return np.empty((len(numbers), 0))
    digest = hashlib.sha256(f"{seed}\0{purpose}\0{name}\0{step}".encode()).digest()
    key = [int.from_bytes(digest[i : i + 8], "little") for i in (0, 8)]
    blocks = -(-width // 4)
    shape = (len(numbers), blocks)
    zero = np.zeros(shape, np.uint64)
    words = [
        np.broadcast_to(np.arange(1, blocks + 1, dtype=np.uint64), shape),
        np.broadcast_to(np.asarray(numbers).astype(np.uint64)[:, None], shape),
        zero,
        zero,
    ]
    for _ in range(10):
        (high0, low0), (high1, low1) = (_multiply(f, w) for f, w in zip(_ROUND, words[::2], strict=True))
        words = [high1 ^ words[1] ^ np.uint64(key[0]), low1, high0 ^ words[3] ^ np.uint64(key[1]), low0]
        key = [(k + w) % 2**64 for k, w in zip(key, _WEYL, strict=True)]
    bits = np.stack(words, axis=-1).reshape(len(numbers), 4 * blocks)[:, :width]
    found: np.ndarray = (bits >> np.uint64(11)) * 2.0**-53
    return found


def _multiply(factor: np.uint64, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """High and low 64 bits of the products."""
    f0, f1, w0, w1 = factor & _LOW, factor >> _HALF, words & _LOW, words >> _HALF
    mixed = f1 * w0 + ((f0 * w0) >> _HALF)
    middle = (mixed & _LOW) + f0 * w1
    return f1 * w1 + (mixed >> _HALF) + (middle >> _HALF), factor * words
