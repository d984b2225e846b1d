"""Measuring the rounding floor of a computation by Monte-Carlo arithmetic.

The computation runs once as it is, once to see how far rounding moves the points where it decides something (kinks), and
then several times with rounding errors put in. The root mean square of the differences is the floor.

An element closer to a kink than `MARGIN` times its rounding error is undecidable: a correct backend may take either
side. Such elements are counted. In the runs that measure the floor they are turned, half of them in each run and the
other half in the next, so that the floor holds what both sides can do.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
import psutil

from polymodel.plan import Plan
from polymodel_conformance.oracle import evaluate
from polymodel_conformance.oracle.tape import Array, Kinks, Noise

UNITS = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
"""Unit roundoff of each element type; the values of the others are whole numbers."""
UNIT = UNITS["float32"]
MARGIN = 64.0
_PROBES = 4  # one run moves an element by less than a twentieth of its error in 1 of 20 cases, four do so in 1 of 160 000
_LONG = 0.5
"""Seconds of the runs without noise from which two noisy runs go side by side: NumPy's loops over large arrays leave the interpreter to
the other one. More would hold more tapes in memory."""
_ROOM = 8 << 30
"""Bytes of free memory without which they go one after the other: with both, a step of ResNet-18 takes 9 GB."""

Compute: TypeAlias = Callable[[Noise | None, Kinks], Mapping[str, Array]]


@final
@dataclass(frozen=True)
class Measured:
    """Values and floors by name.

    Attributes:
        values: without rounding errors.
        spread: rms rounding error of each element.
        doubt: factor that covers the underestimation of the floor of each tensor with probability 0.99.
        undecidable: number of elements nearer to a kink than rounding allows.
        ties: number of elements exactly on a kink, where a derivative is a matter of convention.
    """

    values: Mapping[str, Array]
    spread: Mapping[str, Array]
    doubt: Mapping[str, float]
    undecidable: int
    ties: int = 0


@final
@dataclass(frozen=True)
class Look:
    """A computation without rounding errors, and what rounding could turn in it.

    Attributes:
        values: by name.
        unsure: for each place where something is decided, the elements nearer to a kink than rounding allows.
        ties: number of elements exactly on a kink, where a derivative is a matter of convention.
        sides: what was decided at each of these places.
    """

    values: Mapping[str, Array]
    unsure: Sequence[Array]
    ties: int = 0
    sides: Sequence[Array | None] = ()

    @property
    def undecidable(self) -> int:
        """Number of elements nearer to a kink than rounding allows."""
        return int(sum(m.sum() for m in self.unsure))


def look(compute: Compute, *, unit: float = UNIT, seed: int = 0, apart: bool = False) -> Look:
    """Run a computation as it is, and once more where it decides something, to see how far rounding moves that.

    How far is taken over a tensor, or, where rounding errors of its elements have nothing to do with each other (`apart`), for each
    element: the most that several runs move it.
    """
    watch = Kinks()
    values = dict(compute(None, watch))
    unsure = [np.zeros(d.shape, bool) for d in watch.distances]
    if any(m.size for m in unsure):
        probes = [Kinks() for _ in range(_PROBES if apart else 1)]
        for k, probe in enumerate(probes):
            compute(Noise(unit, seed * 1000 + 1 + 300 * k), probe)
        rows = zip(watch.distances, *(p.distances for p in probes), strict=True)
        unsure = [_near(base, noisy) if apart else _undecidable(base, noisy[0]) for base, *noisy in rows]
    return Look(values, unsure, int(sum((d == 0).sum() for d in watch.distances)), watch.sides)


def measure(
    compute: Compute, *, runs: int = 4, unit: float = UNIT, seed: int = 0, seen: Look | None = None, apart: bool = False
) -> Measured:
    """Run a computation with and without rounding errors.

    Args:
        compute: runs it under a noise model and a watcher of kinks.
        runs: number of noisy runs; even, so that undecidable elements take both sides equally often.
        unit: unit roundoff.
        seed: of the noise.
        seen: what `look` found, if it looked already.
        apart: see `look`.
    """
    began = time.monotonic()
    seen = look(compute, unit=unit, seed=seed, apart=apart) if seen is None else seen
    both = time.monotonic() - began > _LONG and (os.cpu_count() or 1) > 1 and psutil.virtual_memory().available > _ROOM
    squares = {n: np.zeros(v.shape) for n, v in seen.values.items() if v.dtype.kind == "f"}
    rng = np.random.default_rng(seed)

    def noisy(k: int, flips: list[Array | None]) -> Mapping[str, Array]:
        return compute(Noise(unit, seed * 1000 + 2 + k), Kinks(flips=flips, base=seen.sides))

    with ThreadPoolExecutor(2) as pool:
        for k in range(0, runs, 2):
            halves = [m & (rng.random(m.shape) < 0.5) if m.any() else None for m in seen.unsure]
            others = [m & ~h if h is not None else None for m, h in zip(seen.unsure, halves, strict=True)]
            for found in (pool.map if both else map)(noisy, (k, k + 1), (halves, others)):
                for n, total in squares.items():
                    with np.errstate(invalid="ignore"):
                        difference = found[n] - seen.values[n]
                    total += np.where(np.isfinite(difference), difference, 0.0) ** 2
    spread = {n: _compact(np.sqrt(s / runs)) for n, s in squares.items()}
    doubt = {n: _doubt(runs * max(1, s.size)) for n, s in squares.items()}
    return Measured(seen.values, spread, doubt, seen.undecidable, seen.ties)


def _compact(spread: Array) -> Array:
    """In float32, where that loses no magnitude: products of hundreds of numbers err by 1e-56."""
    with np.errstate(over="ignore", under="ignore"):
        small = spread.astype(np.float32)
    kept = ((small != 0) == (spread != 0)) & (np.isfinite(small) == np.isfinite(spread))
    return small if kept.all() else spread


def _near(base: Array, noisy: Sequence[Array]) -> Array:
    """Elements nearer to a kink than MARGIN times the most that they were moved themselves."""
    with np.errstate(invalid="ignore"):
        moved = np.max([np.abs(n - base) for n in noisy], axis=0)
    return np.asarray(np.isfinite(moved) & (moved > 0) & (base < MARGIN * moved))


def _undecidable(base: Array, noisy: Array) -> Array:
    with np.errstate(invalid="ignore"):
        moved = noisy - base
    live = np.isfinite(moved)
    if not live.any():
        return np.zeros(base.shape, bool)
    sigma = math.sqrt(float((moved[live] ** 2).mean()))
    settled = (base == 0) & (moved == 0)  # equal whatever is rounded, like two zeros that a ReLU made
    return np.asarray((base < MARGIN * sigma) & live & (sigma > 0) & ~settled)


def _doubt(n: int) -> float:
    """sqrt(n / q) where q is the 1 % quantile of chi-squared with n degrees of freedom (Wilson & Hilferty, 1931)."""
    a = 2.0 / (9.0 * n)
    quantile = n * max(0.05, 1.0 - a - 2.326 * math.sqrt(a)) ** 3
    return max(1.0, math.sqrt(n / quantile))


def forward(plan: Plan, feeds: Mapping[str, Array]) -> Compute:
    """The computation of a plan's outputs."""

    def compute(noise: Noise | None, kinks: Kinks) -> Mapping[str, Array]:
        return evaluate(plan, feeds, noise=noise, kinks=kinks, record=False).outputs(plan.outputs)

    return compute


def gradient(plan: Plan, feeds: Mapping[str, Array], cotangents: Mapping[str, Array], wrt: tuple[str, ...]) -> Compute:
    """The computation of derivatives, by name of what they are taken with respect to."""

    def compute(noise: Noise | None, kinks: Kinks) -> Mapping[str, Array]:
        found = evaluate(plan, feeds, noise=noise, kinks=kinks).vjp(cotangents, wrt)
        return {n: found.get(n, np.zeros(np.shape(feeds[n]))) for n in wrt}

    return compute


def unit_of(dtypes: Collection[str]) -> float:
    """The unit roundoff that the results of a computation in some element types have.

    float64 where there is any, so that what float32 settings do to it is no excuse; else the coarsest.
    """
    found = [UNITS[d] for d in dtypes if d in UNITS]
    return UNITS["float64"] if "float64" in dtypes else max(found, default=UNIT)


_LINEAR = {"MatMul", "Einsum", "Conv", "ConvTranspose", "ReduceSum"}


def linear_spread(plan: Plan, feeds: Mapping[str, Array], unit: float = UNIT) -> dict[str, Array] | None:
    """The rms error of a straight loop for a plan of one linear operator, without a measurement and its doubt.

    That of `Noise.reduced`, and of the products: u^2/3 ((N - 1) (S^2/3 + Q/2) + Q). S is the result, Q the sum of the squared
    terms, which is the operator on squared inputs, and N their number, the operator on ones.

    u is that of what is summed in: half precision is summed in float32, and rounded once, which the comparison knows.
    None when the plan is not of that kind; the floor is then measured.
    """
    if len(plan.nodes) != 1:
        return None
    node = plan.nodes[0]
    plain = node.op_type == "Gemm" and node.attr("alpha") == node.attr("beta") == 1.0
    if (node.op_type not in _LINEAR and not plain) or any(s is not None and "int" in s.dtype for s in node.inputs[:1]):
        return None

    u = min(unit, UNIT)
    totals, squares, numbers = (_of(plan, feeds, change) for change in (lambda a: a, np.square, np.ones_like))
    return {
        n: u * np.sqrt(np.maximum(numbers[n] - 1.0, 0.0) / 3.0 * (np.square(total) / 3.0 + squares[n] / 2.0) + squares[n] / 3.0)
        for n, total in totals.items()
    }


def factors_spread(plan: Plan, feeds: Mapping[str, Array], unit: float) -> dict[str, Array]:
    """The rms error of a linear operator whose two factors are rounded to a unit roundoff u, and nothing else: u sqrt(2 Q / 3).

    Q is the sum of the squared terms; a rounding error is spread evenly over [-u, u].
    """
    return {n: unit * np.sqrt(squares * (2.0 / 3.0)) for n, squares in _of(plan, feeds, np.square).items()}


def _of(plan: Plan, feeds: Mapping[str, Array], change: Callable[[Array], Array]) -> dict[str, Array]:
    """A plan on changed floating-point inputs, in float64."""
    floats = {n for n, a in feeds.items() if a.dtype.kind == "f" or a.dtype.name == "bfloat16"}
    changed = {n: change(a.astype(np.float64)) if n in floats else a for n, a in feeds.items()}
    return evaluate(plan, changed, record=False).outputs(plan.outputs)
