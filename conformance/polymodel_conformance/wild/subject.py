"""What is exported: a constructor call of a framework with the arrays that it is tried with, as text."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

FLOAT = "float32"


@final
@dataclass(frozen=True)
class Array:
    """An array to try a subject with.

    Attributes:
        shape: without the batch.
        draw: the expression that makes it, where {shape} is the whole shape and rng a NumPy generator.
    """

    shape: tuple[int, ...]
    draw: str = 'rng.standard_normal({shape}).astype("float32")'

    def expression(self, batch: int) -> str:
        """Python text."""
        return self.draw.format(shape=(batch, *self.shape))


def whole(shape: tuple[int, ...], below: int, dtype: str = "int64") -> Array:
    """Integers from 0."""
    return Array(shape, f'rng.integers(0, {below}, {{shape}}).astype("{dtype}")')


def positive(shape: tuple[int, ...]) -> Array:
    """Numbers between 0.1 and 1."""
    return Array(shape, 'rng.uniform(0.1, 1.0, {shape}).astype("float32")')


@final
@dataclass(frozen=True)
class Subject:
    """Something to export.

    Attributes:
        family: "keras", "torch.nn" or "model".
        kind: name of the class.
        call: the constructor call; of Keras with the place {x} for its argument.
        arrays: its inputs.
    """

    family: str
    kind: str
    call: str
    arrays: tuple[Array, ...]

    @property
    def name(self) -> str:
        """Tells it from all others, and sorts by size of the options."""
        sizes = ", ".join("x".join(map(str, a.shape)) or "scalar" for a in self.arrays)
        short = self.call.replace("keras.layers.", "").replace("torch.nn.", "").replace("({x})", "").replace("(*{x})", "")
        return f"{short} on {sizes}"


def options(**choices: Sequence[Any]) -> Iterator[str]:
    """Every combination of choices, as the text of keyword arguments; a choice None is left out."""
    for combination in itertools.product(*choices.values()):
        chosen = zip(choices, combination, strict=True)
        yield ", ".join(f"{n}={v!r}" for n, v in chosen if v is not None)
