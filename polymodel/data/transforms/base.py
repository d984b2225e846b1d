"""What a transform is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np

from polymodel.errors import ConfigError, DataError

Images: TypeAlias = np.ndarray | list[np.ndarray]
"""uint8 (batch, height, width, channels), or a list of (height, width, channels) where sizes differ."""


class Transform(ABC):
    """A function of images and of random numbers.

    What it makes of an image depends on that image and its row of numbers only, to the bit: not on the batch it is in.

    Attributes:
        name: in configurations.
        draws: random numbers that each image takes.
    """

    name: ClassVar[str]
    draws: ClassVar[int] = 0

    @abstractmethod
    def __call__(self, images: Images, u: np.ndarray) -> Images:
        """The transformed images.

        Args:
            images: what to transform; it is not changed.
            u: float64 (batch, draws), uniform in [0, 1).

        Raises:
            DataError: an image does not fit.
        """

    def still(self) -> Sequence[Transform]:
        """What stands in its place where nothing is random: in validation and tests."""
        return () if self.draws else (self,)


def still(transforms: Sequence[Transform]) -> tuple[Transform, ...]:
    """A chain of transforms without what is random."""
    return tuple(part for t in transforms for part in t.still())


def each(images: Images, function: Callable[[np.ndarray, int], np.ndarray]) -> Images:
    """A function of every image and its place in the batch; one array where the results have one size."""
    found = [function(image, i) for i, image in enumerate(images)]
    return joined(found)


def joined(images: list[np.ndarray]) -> Images:
    """One array where the images have one size."""
    return np.stack(images) if images and all(a.shape == images[0].shape for a in images) else images


def check_image(image: np.ndarray, name: str) -> None:
    """Refuse what is no uint8 image."""
    if image.dtype != np.uint8 or image.ndim != 3:
        raise DataError(
            f"{name} takes uint8 images (height, width, channels), received {image.dtype} {image.shape}: put it before normalize"
        )


def pair(value: Any, name: str) -> tuple[int, int]:
    """A size as (height, width), from one number or two.

    Raises:
        ConfigError: they are no integers of 1 or more.
    """
    both = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, list | tuple) else ()
    if len(both) != 2 or any(isinstance(v, bool) or not isinstance(v, int) or v < 1 for v in both):
        raise ConfigError(f"{name}: expected a size or [height, width] of 1 or more, received {value!r}")
    return both[0], both[1]


def check_share(value: float, name: str) -> None:
    """Refuse what is no share."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ConfigError(f"{name}: expected a number from 0 to 1, received {value!r}")
