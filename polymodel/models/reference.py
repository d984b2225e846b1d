"""The five reference models, with the batch sizes and the kind of data that conformance and benchmarks give them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from polymodel import random
from polymodel.errors import ConfigError
from polymodel.model import Model
from polymodel.models.catalog import build

CLASSES = 10


@final
@dataclass(frozen=True)
class ReferenceModel:
    """A model with data for it.

    Attributes:
        name: its name.
        model: input "x", float32; output "logits" (batch, 10); to be trained with "cross_entropy".
        batch: samples in a batch.
        shape: of a sample.
    """

    name: str
    model: Model
    batch: int
    shape: tuple[int, ...]

    def make_batch(self, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """n samples of standard normal numbers with random labels: float32 (n, *shape) and int64 (n,)."""
        generator = random.generator(seed, "reference", self.name)
        x = generator.standard_normal((n, *self.shape), dtype=np.float32)
        return x, generator.integers(0, CLASSES, n, dtype=np.int64)


REFERENCE: dict[str, tuple[int, tuple[int, ...]]] = {
    "mlp": (128, (784,)),
    "lenet": (64, (1, 28, 28)),
    "resnet18": (32, (3, 32, 32)),
    "lstm": (32, (64, 64)),
    "transformer": (16, (64, 128)),
}
"""Batch size and shape of a sample, by name in the catalog."""


def reference(name: str, seed: int = 0) -> ReferenceModel:
    """One of the reference models.

    Args:
        name: "mlp", "lenet", "resnet18", "lstm" or "transformer".
        seed: of the initial values.

    Raises:
        ConfigError: there is no such model.

    Example:
        >>> reference("mlp").model.graph.specs["logits"]
        TensorSpec(shape=('batch', 10), dtype='float32')
    """
    if name not in REFERENCE:
        raise ConfigError(f"unknown reference model {name!r}; expected one of {', '.join(REFERENCE)}")
    return ReferenceModel(name, build(name, seed), *REFERENCE[name])
