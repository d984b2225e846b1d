"""Where each element of a resized axis comes from: the formulas of Resize (opset 19) for one axis, in NumPy float64.

An axis of `size` elements becomes one of `count` elements; `scale` is the factor as given, so that `scale * size` may
have a fraction where `count` has none. The formulas are those of the operator's page; where it leaves a case open (a
fractional output length), they are those of the standard's reference evaluator, which its test cases follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from polymodel.errors import GraphError


@final
@dataclass(frozen=True, eq=False)
class Taps:
    """The weighted sum that makes each element of an axis.

    Attributes:
        index: (count, taps) int64, places in the source axis.
        weight: (count, taps) float64; rows add up to 1.
        outside: (count,) bool: elements that take the extrapolation value instead.
    """

    index: np.ndarray
    weight: np.ndarray
    outside: np.ndarray

    @property
    def nearest(self) -> bool:
        """Whether every element is a copy of one element."""
        return self.index.shape[1] == 1

    def matrix(self, size: int) -> np.ndarray:
        """The same sum as a (count, size) matrix."""
        dense = np.zeros((len(self.index), size))
        np.add.at(dense, (np.arange(len(self.index))[:, None], self.index), self.weight)
        return dense


@final
@dataclass(frozen=True)
class Interpolation:
    """How an axis is resized: the attributes of Resize of the same names.

    Attributes:
        mode: "nearest", "linear" or "cubic".
        transform: coordinate_transformation_mode.
        rounding: nearest_mode.
        cubic: cubic_coeff_a.
        antialias: stretch the filter when the axis gets shorter.
        exclude_outside: weights of places outside of the axis are 0 and the others are scaled up.
    """

    mode: str = "nearest"
    transform: str = "half_pixel"
    rounding: str = "round_prefer_floor"
    cubic: float = -0.75
    antialias: bool = False
    exclude_outside: bool = False

    def taps(self, size: int, count: int, scale: float, roi: tuple[float, float] = (0.0, 1.0)) -> Taps:
        """Sources of every element of an axis of `size` elements resized to `count`."""
        place, outside = self._places(size, count, scale, roi)
        if self.mode == "nearest":
            index = self._rounded(place).astype(np.int64).clip(0, size - 1)
            return Taps(index[:, None], np.ones((count, 1)), outside)
        below = np.floor(place)
        # As in the reference evaluator, an element that lies exactly on a place is at the end of its interval.
        below = np.where(below == place, below - 1, below)
        ratio = place - below
        if self.mode not in ("linear", "cubic"):
            raise GraphError(f"Resize has the modes nearest, linear and cubic, received {self.mode!r}")
        reach = 1 if self.mode == "linear" else 2
        stretch = min(scale, 1.0) if self.antialias else 1.0
        first = int(np.floor(-reach / stretch)) + 1
        offsets = np.arange(first, 2 - first)
        distance = np.abs(offsets - ratio[:, None]) * stretch
        weight = np.clip(1 - distance, 0, 1) if self.mode == "linear" else self._cubic(distance)
        index = below[:, None].astype(np.int64) + offsets
        if self.exclude_outside:
            weight = np.where((index < 0) | (index >= size), 0.0, weight)
        if self.exclude_outside or self.antialias:
            total = weight.sum(1, keepdims=True)
            weight = weight / np.where(total == 0, 1.0, total)
        return Taps(index.clip(0, size - 1), weight, outside)

    def _places(
        self, size: int, count: int, scale: float, roi: tuple[float, float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """x_original of every element, and which of them are extrapolated."""
        x, length = np.arange(count, dtype=np.float64), scale * size
        none = np.zeros(count, bool)
        if self.transform == "half_pixel":
            return (x + 0.5) / scale - 0.5, none
        if self.transform == "half_pixel_symmetric":
            return size / 2 * (1 - count / length) + (x + 0.5) / scale - 0.5, none
        if self.transform == "pytorch_half_pixel":
            return (x * 0 if length == 1 else (x + 0.5) / scale - 0.5), none
        if self.transform == "align_corners":
            return (x * 0 if length == 1 else x * (size - 1) / (length - 1)), none
        if self.transform == "asymmetric":
            return x / scale, none
        if self.transform == "tf_half_pixel_for_nn":  # of opset 11 and 12; files of later ones have it too
            return (x + 0.5) / scale, none
        if self.transform == "tf_crop_and_resize":
            start, end = roi
            if length == 1:
                place = np.full(count, 0.5 * (end - start) * (size - 1) + start * (size - 1))
            else:
                place = x * (end - start) * (size - 1) / (length - 1) + start * (size - 1)
            return place, (place < 0) | (place > size - 1)
        raise GraphError(f"Resize has no coordinate_transformation_mode {self.transform!r}")

    def _rounded(self, place: np.ndarray) -> np.ndarray:
        ways: dict[str, np.ndarray] = {
            "round_prefer_floor": np.ceil(place - 0.5),
            "round_prefer_ceil": np.floor(place + 0.5),
            "floor": np.floor(place),
            "ceil": np.ceil(place),
        }
        if self.rounding not in ways:
            raise GraphError(f"Resize has no nearest_mode {self.rounding!r}; it has {', '.join(ways)}")
        return ways[self.rounding]

    def _cubic(self, d: np.ndarray) -> np.ndarray:
        """Equation (4) of Keys, https://ieeexplore.ieee.org/document/1163711, of a distance."""
        a = self.cubic
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        return np.where(d <= 1, near, np.where(d < 2, far, 0.0))
