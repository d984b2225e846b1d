"""Colours changed at random.

The factors are those of torchvision's ColorJitter, uniform in [1 - x, 1 + x]; a result is rounded to the nearest of 0 to 255.
Grey is 0.299 red + 0.587 green + 0.114 blue (ITU-R BT.601), in whole thousandths.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from polymodel.data.transforms.base import Images, Transform, check_image, check_share, each
from polymodel.errors import DataError

_LUMA = np.array([299, 587, 114])


class _Blend(Transform):
    """factor * image + (1 - factor) * something of the image."""

    amount: float
    draws: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_share(self.amount, f"{self.name}.amount")

    def __call__(self, images: Images, u: np.ndarray) -> Images:
        factors = (1.0 + self.amount * (2.0 * u[:, 0] - 1.0)).astype(np.float32)
        if not isinstance(images, np.ndarray):
            return each(images, lambda image, i: self._blended(image[None], factors[i : i + 1])[0])
        return self._blended(images, factors)

    def _blended(self, images: np.ndarray, factors: np.ndarray) -> np.ndarray:
        check_image(images[0], self.name)
        other = self.other(images)
        factors = factors[:, None, None, None]
        found = images * factors
        if other is not None:
            found += (np.float32(1.0) - factors) * other
        result: np.ndarray = np.clip(np.rint(found), 0, 255).astype(np.uint8)
        result[..., 3:] = images[..., 3:]  # opacity is no colour
        return result

    @abstractmethod
    def other(self, images: np.ndarray) -> np.ndarray | None:
        """float32 that fits to (batch, height, width, channels); None is black."""


@final
@dataclass(frozen=True)
class Brightness(_Blend):
    """Lighter or darker: blended with black.

    Args:
        amount: largest change of the factor, from 0 to 1.
    """

    amount: float
    name: ClassVar[str] = "brightness"

    def other(self, images: np.ndarray) -> np.ndarray | None:
        return None


@final
@dataclass(frozen=True)
class Contrast(_Blend):
    """Blended with the mean grey of the image.

    Args:
        amount: largest change of the factor, from 0 to 1.
    """

    amount: float
    name: ClassVar[str] = "contrast"

    def other(self, images: np.ndarray) -> np.ndarray | None:
        means: np.ndarray = grey(images).sum((1, 2, 3), keepdims=True) / (1000.0 * images[0, ..., 0].size)
        return means.astype(np.float32)


@final
@dataclass(frozen=True)
class Saturation(_Blend):
    """Blended with its own grey.

    Args:
        amount: largest change of the factor, from 0 to 1.
    """

    amount: float
    name: ClassVar[str] = "saturation"

    def other(self, images: np.ndarray) -> np.ndarray | None:
        return grey(images).astype(np.float32) / np.float32(1000)


@final
@dataclass(frozen=True)
class ColorJitter(Transform):
    """Brightness, contrast and saturation, in this order.

    Args:
        brightness, contrast, saturation: largest changes of the factors, from 0 to 1.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    name: ClassVar[str] = "color_jitter"
    draws: ClassVar[int] = 3

    def __post_init__(self) -> None:
        for what in ("brightness", "contrast", "saturation"):
            check_share(getattr(self, what), f"{self.name}.{what}")

    def __call__(self, images: Images, u: np.ndarray) -> Images:
        parts = Brightness(self.brightness), Contrast(self.contrast), Saturation(self.saturation)
        for i, part in enumerate(parts):
            images = part(images, u[:, i : i + 1]) if part.amount else images
        return images


def grey(images: np.ndarray) -> np.ndarray:
    """Thousandths of grey, int64 (..., height, width, 1): whole numbers, whose sums do not depend on their order."""
    channels = images.shape[-1]
    if channels == 1:
        return images.astype(np.int64) * 1000
    if channels < 3:
        raise DataError(f"colours need 1 (grey), 3 (RGB) or 4 (RGBA) channels, received {channels}")
    found: np.ndarray = (images[..., :3] @ _LUMA)[..., None]
    return found
