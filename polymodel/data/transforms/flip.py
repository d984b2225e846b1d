"""Mirrored images."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from polymodel.data.transforms.base import Images, Transform, check_share, each


@dataclass(frozen=True)
class _Exchange(Transform, ABC):
    p: float = 0.5
    axis: ClassVar[int]
    draws: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_share(self.p, f"{self.name}.p")

    def __call__(self, images: Images, u: np.ndarray) -> Images:
        return _exchanged(images, u[:, 0] < self.p, self.axis)


@final
class Mirror(_Exchange):
    """Left and right exchanged, at random; torchvision's RandomHorizontalFlip, ImageRecordIter's rand_mirror.

    Args:
        p: share of the images.
    """

    name: ClassVar[str] = "mirror"
    axis: ClassVar[int] = 1


@final
class Flip(_Exchange):
    """Top and bottom exchanged, at random; torchvision's RandomVerticalFlip.

    Args:
        p: share of the images.
    """

    name: ClassVar[str] = "flip"
    axis: ClassVar[int] = 0


def _exchanged(images: Images, which: np.ndarray, axis: int) -> Images:
    if isinstance(images, np.ndarray):
        found = images.copy()
        found[which] = np.flip(images[which], axis + 1)
        return found
    return each(images, lambda image, i: np.flip(image, axis) if which[i] else image)
