"""Turned images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from polymodel.data.images import pillow, to_array
from polymodel.data.transforms.base import Images, Transform, check_image, each
from polymodel.data.transforms.resize import planes
from polymodel.errors import ConfigError


@final
@dataclass(frozen=True)
class Rotate(Transform):
    """Turned about the middle by a random angle, of the same size; torchvision.transforms.RandomRotation, ImageRecordIter's
    max_rotate_angle. Bilinear (Pillow).

    Args:
        degrees: largest angle in both directions.
        fill: value of what comes in at the corners, 0 to 255.
    """

    degrees: float
    fill: int = 0
    name: ClassVar[str] = "rotate"
    draws: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if isinstance(self.degrees, bool) or not isinstance(self.degrees, int | float) or not 0 <= self.degrees <= 180:
            raise ConfigError(f"{self.name}.degrees: expected a number from 0 to 180, received {self.degrees!r}")
        if not 0 <= self.fill <= 255:
            raise ConfigError(f"{self.name}.fill: expected a number from 0 to 255, received {self.fill!r}")

    def __call__(self, images: Images, u: np.ndarray) -> Images:
        """By (2 u - 1) * degrees, counter-clockwise."""
        library = pillow()

        def one(image: np.ndarray, i: int) -> np.ndarray:
            check_image(image, self.name)
            angle = float(2.0 * u[i, 0] - 1.0) * self.degrees
            found = []
            for plane in planes(image):
                fill = self.fill if plane.ndim == 2 else (self.fill,) * plane.shape[2]
                turned = library.fromarray(plane).rotate(angle, library.Resampling.BILINEAR, fillcolor=fill)
                found.append(to_array(turned))
            return found[0] if len(found) == 1 else np.concatenate(found, axis=2)

        return each(images, one)
