"""Parts of images."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from polymodel.data.transforms.base import Images, Transform, check_image, each, pair
from polymodel.data.transforms.resize import ResizeShort, resized
from polymodel.errors import ConfigError, DataError


@dataclass(frozen=True)
class _Part(Transform, ABC):
    size: Any
    padding: int = 0
    fill: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", pair(self.size, f"{self.name}.size"))
        _check_padding(self.name, self.padding, self.fill)

    def __call__(self, images: Images, u: np.ndarray) -> Images:
        height, width = self.size

        def one(image: np.ndarray, i: int) -> np.ndarray:
            y, x = self.corner(places(image, self.size, self.name), u[i])
            return image[y : y + height, x : x + width]

        return each(_padded(images, self.padding, self.fill), one)

    @abstractmethod
    def corner(self, places: tuple[int, int], u: np.ndarray) -> tuple[int, int]:
        """The top left corner, of so many places in each direction."""


@final
class RandomCrop(_Part):
    """A part at a random place; torchvision.transforms.RandomCrop.

    Args:
        size: of the part, one number or (height, width).
        padding: pixels added on every side before.
        fill: their value, 0 to 255.
    """

    name: ClassVar[str] = "random_crop"
    draws: ClassVar[int] = 2

    def corner(self, places: tuple[int, int], u: np.ndarray) -> tuple[int, int]:
        """floor(u * places), in each direction."""
        return int(u[0] * places[0]), int(u[1] * places[1])

    def still(self) -> Sequence[Transform]:
        return (CenterCrop(self.size, self.padding, self.fill),)


@final
class CenterCrop(_Part):
    """The part in the middle, nearer to the top left corner where it cannot be exact.

    Args:
        size: one number or (height, width).
        padding: pixels added on every side before.
        fill: their value, 0 to 255.
    """

    name: ClassVar[str] = "center_crop"

    def corner(self, places: tuple[int, int], u: np.ndarray) -> tuple[int, int]:
        """The middle."""
        return (places[0] - 1) // 2, (places[1] - 1) // 2


@final
@dataclass(frozen=True)
class RandomResizedCrop(Transform):
    """A part of random area and shape, resized; torchvision.transforms.RandomResizedCrop (Szegedy et al., 2015).

    Ten times an area and a ratio are drawn until the part fits; else it is the largest part in the middle whose ratio is allowed.

    Args:
        size: after resizing, one number or (height, width).
        scale: least and largest share of the image's area.
        ratio: least and largest width / height; its logarithm is uniform.
    """

    size: Any
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    name: ClassVar[str] = "random_resized_crop"
    draws: ClassVar[int] = 22

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", pair(self.size, f"{self.name}.size"))
        for what in ("scale", "ratio"):
            object.__setattr__(self, what, tuple(getattr(self, what)))
            low, high = getattr(self, what)
            if not 0 < low <= high or (what == "scale" and high > 1):
                raise ConfigError(f"{self.name}.{what}: expected 0 < least <= largest, received {low} and {high}")

    def __call__(self, images: Images, u: np.ndarray) -> Images:
        return each(images, lambda image, i: self._one(image, u[i]))

    def _one(self, image: np.ndarray, u: np.ndarray) -> np.ndarray:
        check_image(image, self.name)
        height, width = image.shape[:2]
        (least, most), (low, high) = self.scale, map(math.log, self.ratio)
        for a, b in u[:20].reshape(10, 2).tolist():
            area, ratio = height * width * (least + a * (most - least)), math.exp(low + b * (high - low))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                y, x = int(u[20] * (height - h + 1)), int(u[21] * (width - w + 1))
                break
        else:
            allowed = min(max(width / height, self.ratio[0]), self.ratio[1])
            w, h = min(width, max(1, round(height * allowed))), min(height, max(1, round(width / allowed)))
            y, x = (height - h) // 2, (width - w) // 2
        return resized(image[y : y + h, x : x + w], self.size)

    def still(self) -> Sequence[Transform]:
        """The middle of an image resized to 8 / 7 of the size, as usual for validation (256 for 224)."""
        return (ResizeShort(max(self.size) * 8 // 7), CenterCrop(self.size))


def places(image: np.ndarray, size: tuple[int, int], name: str) -> tuple[int, int]:
    """How many places a part has in each direction."""
    rows, columns = image.shape[0] - size[0] + 1, image.shape[1] - size[1] + 1
    if image.ndim != 3 or rows < 1 or columns < 1:
        shape = " x ".join(map(str, image.shape))
        raise DataError(f"{name} of {size[0]} x {size[1]} does not fit into an image of {shape}: resize or pad before")
    return rows, columns


def _check_padding(name: str, padding: Any, fill: Any) -> None:
    if not isinstance(padding, int) or not isinstance(fill, int) or not 0 <= fill <= 255 or padding < 0:
        raise ConfigError(f"{name}: expected padding >= 0 and fill from 0 to 255, received {padding!r} and {fill!r}")


def _padded(images: Images, size: int, fill: int) -> Images:
    if not size:
        return images
    sides = (size, size), (size, size), (0, 0)
    if isinstance(images, np.ndarray):
        return np.pad(images, ((0, 0), *sides), constant_values=fill)
    return [np.pad(a, sides, constant_values=fill) for a in images]
