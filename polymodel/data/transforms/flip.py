"""Mirrored images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from polymodel.data.transforms.base import Images, Transform, check_share, each


@final
@dataclass(frozen=True)
class Mirror(Transform):
    """Left and right exchanged, at random; torchvision's RandomHorizontalFlip, ImageRecordIter's rand_mirror.

    Args:
        p: share of the images.
    """

    p: float = 0.5
    name: ClassVar[str] = "mirror"
    draws: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_share(self.p, f"{self.name}.p")

    def __call__(self, images: Images, u: np.ndarray) -> Images:
        return _exchanged(images, u[:, 0] < self.p, 1)


@final
@dataclass(frozen=True)
class Flip(Transform):
    """Top and bottom exchanged, at random; torchvision's RandomVerticalFlip.

    Args:
        p: share of the images.
    """

    p: float = 0.5
    name: ClassVar[str] = "flip"
    draws: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_share(self.p, f"{self.name}.p")

    def __call__(self, images: Images, u: np.ndarray) -> Images:
        return _exchanged(images, u[:, 0] < self.p, 0)


def _exchanged(images: Images, which: np.ndarray, axis: int) -> Images:
    if isinstance(images, np.ndarray):
        found = images.copy()
        found[which] = np.flip(images[which], axis + 1)
        return found
    return each(images, lambda image, i: np.flip(image, axis) if which[i] else image)
