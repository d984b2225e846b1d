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


_ROUND = np.array([0xD2E7470EE14C6C93, 0xCA5A826395121157], np.uint64)[:, None, None, None]
_WEYL = np.array([0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B], np.uint64)[:, None, None, None]
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
    return tables(seed, purpose, [(name, width)], step, numbers)[0]


def tables(seed: int, purpose: str, wanted: Sequence[tuple[str, int]], step: int, numbers: np.ndarray) -> list[np.ndarray]:
    """`rows` of several streams, computed at once: a chain of transforms asks for all its numbers here.

    Args:
        seed, purpose, step, numbers: as for `rows`.
        wanted: name and width of each.
    """
    names, blocks = [name for name, width in wanted if width], -(-max((w for _, w in wanted), default=0) // 4)
    shape = (2, len(names), len(numbers), blocks)
    digests = [hashlib.sha256(f"{seed}\0{purpose}\0{n}\0{step}".encode()).digest()[:16] for n in names]
    key = np.frombuffer(b"".join(digests), "<u8").reshape(-1, 2).T[:, :, None, None]
    even, odd = np.zeros(shape, np.uint64), np.zeros(shape, np.uint64)  # words 0 and 2, words 1 and 3
    even[0] = np.arange(1, blocks + 1, dtype=np.uint64)
    odd[0] = np.asarray(numbers).astype(np.uint64)[:, None]
    for _ in range(10):
        high, low = _multiply(_ROUND, even)
        even, odd = high[::-1] ^ odd ^ key, low[::-1]
        key = key + _WEYL
    bits = np.stack([even[0], odd[0], even[1], odd[1]], axis=-1).reshape(len(names), len(numbers), 4 * blocks)
    made = iter((bits >> np.uint64(11)) * 2.0**-53)
    return [next(made)[:, :width] if width else np.empty((len(numbers), 0)) for _, width in wanted]


def _multiply(factor: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """High and low 64 bits of the products."""
    f0, f1, w0, w1 = factor & _LOW, factor >> _HALF, words & _LOW, words >> _HALF
    mixed = f1 * w0 + ((f0 * w0) >> _HALF)
    middle = (mixed & _LOW) + f0 * w1
    return f1 * w1 + (mixed >> _HALF) + (middle >> _HALF), factor * words
