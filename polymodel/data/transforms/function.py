"""A function of a user's own as a transform."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from polymodel.data.transforms.base import Images, Transform, each


@final
@dataclass(frozen=True)
class Function(Transform):
    """Calls a function with one sample after the other. It should not be random: a Transform gets its numbers.

    Args:
        function: of an image (height, width, channels) or another array; its result goes on.
    """

    function: Callable[[np.ndarray], Any]
    name: ClassVar[str] = "function"

    def __call__(self, images: Images, u: np.ndarray) -> Images:
        return each(images, lambda image, i: np.asarray(self.function(image)))
