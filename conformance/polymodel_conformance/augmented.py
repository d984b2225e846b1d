"""Batches of a loader with every random transform, made in the process of a backend and in that of the suite."""

from __future__ import annotations

from typing import Any

import numpy as np

from polymodel import random
from polymodel.data import ArrayDataset, Loader

CHAIN: list[Any] = [
    {"random_resized_crop": {"size": 12}},
    {"random_crop": {"size": 10, "padding": 2}},
    "mirror",
    "flip",
    {"rotate": {"degrees": 30}},
    {"color_jitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4}},
    {"normalize": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.25]}},
]


def batches() -> dict[str, np.ndarray]:
    """The batches of two passes from their second batch on, as a run that goes on in the middle of an epoch has them."""
    images = np.frombuffer(random.generator(0, "data", "images").bytes(11 * 16 * 14 * 3), np.uint8).reshape(11, 16, 14, 3)
    found = {}
    with Loader(ArrayDataset(images, np.arange(11)), 4, transforms=CHAIN, seed=7, workers=2) as loader:
        for number in (0, 5):
            for place, (x, y) in enumerate(loader.batches(number, 1)):
                found[f"{number}.{place}.x"], found[f"{number}.{place}.y"] = x, y
    return found
