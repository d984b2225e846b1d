"""Transforms of images: what is done to a sample before it is trained on, the same bits whatever the backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from polymodel.data.transforms.base import Images, Transform, still
from polymodel.data.transforms.colour import Brightness, ColorJitter, Contrast, Saturation
from polymodel.data.transforms.crop import CenterCrop, RandomCrop, RandomResizedCrop
from polymodel.data.transforms.flip import Flip, Mirror
from polymodel.data.transforms.function import Function
from polymodel.data.transforms.normalize import Normalize
from polymodel.data.transforms.resize import Resize, ResizeShort
from polymodel.data.transforms.rotate import Rotate
from polymodel.errors import ConfigError
from polymodel.optim.named import make

__all__ = [
    "TRANSFORMS", "Brightness", "CenterCrop", "ColorJitter", "Contrast", "Flip", "Function", "Images", "Mirror", "Normalize",
    "RandomCrop", "RandomResizedCrop", "Resize", "ResizeShort", "Rotate", "Saturation", "Spec", "Transform", "get", "get_all",
    "still",
]

TRANSFORMS: dict[str, type[Transform]] = {
    c.name: c
    for c in (
        RandomCrop, CenterCrop, RandomResizedCrop, Resize, ResizeShort, Mirror, Flip, Rotate, Brightness, Contrast, Saturation,
        ColorJitter, Normalize,
    )
}

Spec: TypeAlias = str | Mapping[str, Any] | Transform | Callable[[np.ndarray], Any]
"""A name, a mapping with "name" and options, {name: options}, a Transform, or a function of one image."""


def get(spec: Spec, where: str = "transforms") -> Transform:
    """The transform that a word or a mapping stands for.

    Raises:
        ConfigError: an unknown name, an unknown option or an impossible value, by its dotted name.

    Example:
        >>> get({"random_crop": {"size": 32, "padding": 4}})
        RandomCrop(size=(32, 32), padding=4, fill=0)
        >>> get("mirror") == get({"name": "mirror", "p": 0.5})
        True
    """
    if isinstance(spec, Transform):
        return spec
    if isinstance(spec, Mapping) and "name" not in spec and len(spec) == 1:
        name, options = next(iter(spec.items()))
        if isinstance(options, Mapping) or options is None:
            spec = {"name": name, **(options or {})}
        else:
            raise ConfigError(f"{where}.{name}: expected a mapping of its options, received {options!r}")
    if callable(spec):
        return Function(spec)
    return make(spec, TRANSFORMS, where)


def get_all(specs: Sequence[Spec], where: str = "transforms") -> tuple[Transform, ...]:
    """The transforms of a list, in its order."""
    if isinstance(specs, str | Mapping) or not isinstance(specs, Sequence):
        raise ConfigError(f"{where}: expected a list, received {specs!r}")
    return tuple(get(s, f"{where}.{i}") for i, s in enumerate(specs))
