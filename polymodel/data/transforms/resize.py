"""Images of another size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from polymodel.data.images import MODES, pillow, to_array
from polymodel.data.transforms.base import Images, Transform, check_image, each, pair
from polymodel.errors import ConfigError


@final
@dataclass(frozen=True)
class Resize(Transform):
    """Every image of one size, whatever its shape was; bilinear with a filter as wide as the reduction (Pillow).

    Args:
        size: one number or (height, width).
    """

    size: Any
    name: ClassVar[str] = "resize"

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", pair(self.size, f"{self.name}.size"))

    def __call__(self, images: Images, u: np.ndarray) -> Images:
        return each(images, lambda image, i: resized(image, self.size))


@final
@dataclass(frozen=True)
class ResizeShort(Transform):
    """The short side of a given size, the shape kept; torchvision.transforms.Resize(int), mx.image.resize_short.

    Args:
        size: of the short side.
    """

    size: int
    name: ClassVar[str] = "resize_short"

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 1:
            raise ConfigError(f"{self.name}.size: expected an integer of 1 or more, received {self.size!r}")

    def __call__(self, images: Images, u: np.ndarray) -> Images:
        def one(image: np.ndarray, i: int) -> np.ndarray:
            height, width = image.shape[:2]
            short = min(height, width)
            return resized(image, (height * self.size // short, width * self.size // short))

        return each(images, one)


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A uint8 image of a size (height, width), by Pillow's bilinear filter."""
    check_image(image, "resizing")
    if image.shape[:2] == size:
        return image
    library = pillow()
    found = [to_array(library.fromarray(p).resize(size[::-1], library.Resampling.BILINEAR)) for p in planes(image)]
    return found[0] if len(found) == 1 else np.concatenate(found, axis=2)


def planes(image: np.ndarray) -> list[np.ndarray]:
    """An image as what Pillow has modes for: itself, or its channels one by one."""
    channels = image.shape[2]
    if channels == 1:
        return [np.ascontiguousarray(image[..., 0])]
    if channels in MODES:
        return [np.ascontiguousarray(image)]
    return [np.ascontiguousarray(image[..., c]) for c in range(channels)]
