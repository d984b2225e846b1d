"""Reverse-mode differentiation of NumPy arrays, with a switchable model of rounding.

The oracle writes every operator with the few differentiable primitives of `primitives.py`; each primitive records how
a cotangent flows back. Nothing here is taken from a framework. Two switches make the measurements of the tolerance
model possible:

- `Noise` is Monte-Carlo arithmetic (Parker, UCLA technical report 970002, 1997): every result is multiplied by
  (1 + u xi), xi uniform in [-1, 1], and a reduction of n terms gets the random-walk error of its n - 1 partial sums.
- `Kinks` watches the places where the derivative jumps (ReLU at 0, a tie in a maximum): how far the float64 value is
  from the jump, and, on request, what happens on the other side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, final

import numpy as np

Array: TypeAlias = np.ndarray
Vjp: TypeAlias = Callable[[Array], Sequence[Array | None]]


@final
class Noise:
    """One draw of rounding errors.

    Args:
        unit: unit roundoff u, 2**-24 for float32.
        seed: of this draw.

    Attributes:
        accumulator: unit roundoff of what sums are gathered in: half precision is summed in float32.
    """

    def __init__(self, unit: float, seed: int) -> None:
        self.unit = unit
        self.accumulator = min(unit, 2.0**-24)
        self._rng = np.random.Generator(np.random.SFC64(seed))

    def rounded(self, array: Array, ulps: float = 1.0) -> Array:
        """The array with an independent relative error of at most `ulps` * u in every element."""
        if array.dtype.kind != "f":
            return array
        factor = self._rng.random(array.shape)
        factor -= 0.5
        factor *= 2.0 * ulps * self.unit
        factor += 1.0
        factor *= array
        return np.asarray(factor)

    def reduced(self, total: Array, squares: Array | float, n: int) -> Array:
        """A sum of n terms with the errors of its partial sums.

        In an order that is not known the k-th partial sum S_k has E S_k^2 = k^2 m^2 + k v, where m is the mean of the
        terms and v their variance; each is rounded once, so the variance of the result is u^2/3 times the sum of
        E S_k^2 over the n - 1 of them: (n - 1) (S^2/3 + Q/2) to leading order, Q being the sum of the squared terms.
        A straight loop has this error; kernels with several accumulators have less.
        """
        if n < 2:
            return total
        variance = np.square(total)
        variance /= 3.0
        variance += np.asarray(squares) / 2.0
        variance *= (n - 1) / 3.0
        error = self._rng.standard_normal(total.shape)
        error *= self.accumulator
        error *= np.sqrt(variance)
        error += total
        return np.asarray(error)


@final
@dataclass
class Kinks:
    """Decisions of one evaluation that the smallest change could turn.

    Attributes:
        distances: for each decision site in the order of evaluation, how far each element is from turning.
        sides: for each site what the values alone decide, where the site says so.
        flips: for each site the elements to decide the other way; empty to decide by the values.
        base: sides of the evaluation without noise. The other way is the other side than there: a noisy run that went over by itself
            is not turned back.
    """

    distances: list[Array] = field(default_factory=list)
    sides: list[Array | None] = field(default_factory=list)
    flips: Sequence[Array | None] = ()
    base: Sequence[Array | None] = ()

    def decide(self, distance: Array, side: Array | None = None) -> Array:
        """Which elements to turn, a bool array; records the distance.

        Args:
            distance: how far each element is from turning.
            side: what the values decide, of the same shape; None where nothing is turned.
        """
        site = len(self.distances)
        self.distances.append(distance)
        self.sides.append(side)
        flip = self.flips[site] if site < len(self.flips) else None
        if flip is None:
            return np.zeros(distance.shape, bool)
        base = self.base[site] if site < len(self.base) else None
        return flip if side is None or base is None else flip ^ (side != base)


@final
class Tape:
    """One evaluation: what was computed and how cotangents flow back through it."""

    def __init__(self, noise: Noise | None = None, kinks: Kinks | None = None, *, record: bool = True) -> None:
        self.noise = noise
        self.kinks = kinks if kinks is not None else Kinks()
        self.record = record
        self._entries: list[tuple[Value, tuple[Value, ...], Vjp]] = []

    def value(self, array: Any) -> Value:
        """A leaf: floats are held in float64, other types as they are."""
        data = np.asarray(array)
        if data.dtype.kind == "f" or data.dtype.name == "bfloat16":
            data = data.astype(np.float64)
        return Value(data, self)

    def rounded(self, array: Array, ulps: float = 1.0) -> Array:
        """The array with the rounding errors of this run, if it has any."""
        return array if self.noise is None else self.noise.rounded(array, ulps)

    def push(self, array: Array, inputs: tuple[Value, ...], vjp: Vjp) -> Value:
        """Record a computed value."""
        out = Value(np.asarray(array), self)
        if self.record and out.array.dtype.kind == "f":
            self._entries.append((out, inputs, vjp))
        return out

    def vjp(self, cotangents: Sequence[tuple[Value, Array]], wrt: Sequence[Value]) -> list[Array]:
        """Derivatives of the sum of <cotangent, value> with respect to leaves; zeros where nothing flows."""
        grads: dict[int, Array] = {}

        def add(value: Value, g: Array) -> None:
            old = grads.get(id(value))
            grads[id(value)] = g if old is None else self.rounded(old + g)

        for value, cotangent in cotangents:
            add(value, np.asarray(cotangent, np.float64))
        keep = {id(v) for v in wrt}
        for out, inputs, vjp in reversed(self._entries):
            g = grads.get(id(out)) if id(out) in keep else grads.pop(id(out), None)
            if g is None:
                continue
            for value, part in zip(inputs, vjp(g), strict=True):
                if part is not None and value.array.dtype.kind == "f":
                    add(value, part)
        return [grads.get(id(v), np.zeros(v.array.shape)) for v in wrt]


@final
class Value:
    """An array on a tape. Arithmetic lives in primitives.py."""

    __slots__ = ("array", "tape")

    def __init__(self, array: Array, tape: Tape) -> None:
        self.array = array
        self.tape = tape

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes."""
        return self.array.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.array.ndim

    @property
    def is_float(self) -> bool:
        """Whether derivatives can flow through it."""
        return bool(self.array.dtype.kind == "f")
