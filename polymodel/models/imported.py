"""Models that the benchmark imports from an ONNX file: what is fed to them. The files are written by their framework."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from polymodel import random
from polymodel.errors import ConfigError


@final
@dataclass(frozen=True)
class ImportedModel:
    """Data for a model that comes as a file; its input is "x", its output "logits" (batch, classes).

    Attributes:
        name: its name.
        batch: samples in a batch.
        shape: of a sample.
        classes: how many the logits tell apart.
        vocabulary: token numbers are below it; None for images.
    """

    name: str
    batch: int
    shape: tuple[int, ...]
    classes: int
    vocabulary: int | None = None

    def make_batch(self, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """n samples with random labels, int64 (n,): float32 standard normal numbers, or int64 token numbers."""
        generator = random.generator(seed, "imported", self.name)
        size = (n, *self.shape)
        x = (
            generator.standard_normal(size, dtype=np.float32)
            if self.vocabulary is None
            else generator.integers(0, self.vocabulary, size, dtype=np.int64)
        )
        return x, generator.integers(0, self.classes, n, dtype=np.int64)


IMPORTED: dict[str, ImportedModel] = {
    "resnet50": ImportedModel("resnet50", 4, (3, 224, 224), 1000),
    "bert": ImportedModel("bert", 4, (128,), 2, 30522),
}
"""ResNet-50 v1.5, and an encoder of BERT-base's size: 12 layers, width 768, 12 heads, hidden 3072."""


def imported(name: str) -> ImportedModel:
    """One of the imported models.

    Raises:
        ConfigError: there is no such model.

    Example:
        >>> imported("bert").make_batch(2)[0].shape
        (2, 128)
    """
    if name not in IMPORTED:
        raise ConfigError(f"unknown imported model {name!r}; expected one of {', '.join(IMPORTED)}")
    return IMPORTED[name]
