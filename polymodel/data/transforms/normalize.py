"""From bytes to the numbers that a network takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from polymodel.data.transforms.base import Images, Transform
from polymodel.errors import ConfigError, DataError


@final
@dataclass(frozen=True)
class Normalize(Transform):
    """(scale * image - mean) / std as float32 (batch, channels, height, width), computed in float64 and rounded once.

    With the default scale it is torchvision's ToTensor and Normalize; with scale=1 mean and std are of 0 to 255, as
    ImageRecordIter's mean_r, std_r.

    Args:
        mean: a number, or one for each channel.
        std: likewise, not 0.
        scale: what bytes are multiplied with before.
    """

    mean: Any = 0
    std: Any = 1
    scale: float = 1 / 255
    name: ClassVar[str] = "normalize"

    def __post_init__(self) -> None:
        for what in ("mean", "std"):
            value = getattr(self, what)
            numbers = tuple(value) if isinstance(value, list | tuple) else (value,)
            bad = [v for v in numbers if isinstance(v, bool) or not isinstance(v, int | float) or not math.isfinite(v)]
            if bad or not numbers or (what == "std" and 0 in numbers):
                raise ConfigError(f"{self.name}.{what}: expected a number for each channel (std: not 0), received {value!r}")
            object.__setattr__(self, what, tuple(map(float, numbers)))

    def __call__(self, images: Images, u: np.ndarray) -> Images:
        if not isinstance(images, np.ndarray):
            sizes = sorted({a.shape for a in images})
            raise DataError(f"images of different sizes cannot be one batch: {sizes[0]} and {sizes[-1]}; crop or resize them before")
        if images.dtype != np.uint8:
            raise DataError(f"{self.name} takes uint8 images, received {images.dtype}: it comes once, at the end")
        channels = images.shape[3]
        for what in ("mean", "std"):
            if len(getattr(self, what)) not in (1, channels):
                raise DataError(f"{self.name}.{what} has {len(getattr(self, what))} numbers, the images have {channels} channels")
        mean, std = (np.broadcast_to(np.array(v), channels)[:, None] for v in (self.mean, self.std))
        table = ((self.scale * np.arange(256.0) - mean) / std).astype(np.float32)  # every byte has one result for each channel
        found = np.empty((len(images), channels, *images.shape[1:3]), np.float32)
        for c in range(channels):
            table[c].take(images[..., c], out=found[:, c], mode="clip")
        return found
