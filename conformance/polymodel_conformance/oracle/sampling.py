"""Reading an array between its elements: the taps of an interpolation, their weights, and what lies outside."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from polymodel_conformance.oracle import primitives as p
from polymodel_conformance.oracle.tape import Array, Value

Tap: TypeAlias = tuple[Array, Value]
"""A position on one axis (whole numbers, perhaps outside) and its weight."""

Outside: TypeAlias = Callable[[Array, int], Array]
"""Which position is read for one on an axis of a size; -1 reads as zero."""


def floored(x: Value, held: Array | bool = False) -> Array:
    """The largest integer that is not larger, as a decision: a linear interpolation has a kink at every integer.

    The values of an interpolation do not jump there: it is no decision where no derivative will be asked for.
    Coordinates that are `held` at a border do not move, and stand on no kink.
    """
    if not x.tape.record:
        return np.asarray(np.floor(x.array))
    whole = np.floor(x.array)
    part = x.array - whole
    flips = x.tape.kinks.decide(np.where(held, np.inf, np.minimum(part, 1.0 - part)), whole)
    return np.asarray(whole + np.where(flips, np.where(part < 0.5, -1.0, 1.0), 0.0))


def linear_taps(x: Value, held: Array | bool = False) -> list[Tap]:
    """The two neighbours of a coordinate."""
    low = floored(x, held)
    part = p.sub(x, low)
    return [(low, p.sub(1.0, part)), (low + 1, part)]


def cubic_taps(x: Value, a: float = -0.75) -> list[Tap]:
    """The four neighbours of a coordinate; its derivative is continuous, so an integer is no kink.

    Keys, "Cubic convolution interpolation for digital image processing", 1981, equation (4).
    """
    low = np.floor(x.array)
    part = p.sub(x, low)
    rest = p.sub(1.0, part)
    weights = [_far(p.add(part, 1.0), a), _near(part, a), _near(rest, a), _far(p.add(rest, 1.0), a)]
    return [(low + i, w) for i, w in zip((-1, 0, 1, 2), weights, strict=True)]


def _near(x: Value, a: float) -> Value:
    return p.add(p.mul(p.mul(p.sub(p.mul(x, a + 2.0), a + 3.0), x), x), 1.0)


def _far(x: Value, a: float) -> Value:
    inner = p.add(p.mul(p.sub(p.mul(x, a), 5.0 * a), x), 8.0 * a)
    return p.sub(p.mul(inner, x), 4.0 * a)


def nothing(position: Array, size: int) -> Array:
    """Zero outside."""
    return np.where((position >= 0) & (position < size), position, -1)


def nearest_inside(position: Array, size: int) -> Array:
    """The border outside."""
    return np.clip(position, 0, size - 1)


def read(x: Value, lead: Array, taps: Sequence[Sequence[Tap]], sizes: Sequence[int], outside: Outside) -> Value:
    """Weighted sums of elements.

    Args:
        x: the array, flattened in the order lead, *sizes.
        lead: number of the plane that each result reads, of the rank of the results.
        taps: per axis of a plane; positions and weights broadcast against lead.
        sizes: of a plane.
        outside: what is read outside.

    Returns:
        Results of the broadcast shape of lead and taps.
    """
    index, weights = places(lead, taps, sizes, outside)
    return p.total(p.mul(p.take(x, index), weights), (-1,))


def places(
    lead: Array, taps: Sequence[Sequence[Tap]], sizes: Sequence[int], outside: Outside
) -> tuple[Array, Value]:
    """Flat positions (-1 for nothing) and weights of all combinations of taps, along a new last axis."""
    found, weights = [], []
    for combination in itertools.product(*taps):
        flat: Array = np.asarray(lead, np.int64)
        missing: Array = np.zeros((), bool)
        weight: Value | None = None
        for (position, w), size in zip(combination, sizes, strict=True):
            inside = outside(position, size).astype(np.int64)
            missing = missing | (inside < 0)
            flat = flat * size + np.maximum(inside, 0)
            weight = w if weight is None else p.mul(weight, w)
        assert weight is not None
        found.append(np.where(missing, -1, flat))
        weights.append(weight)
    return np.stack(found, -1), p.stack(weights, weights[0].ndim)
