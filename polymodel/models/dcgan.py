"""DCGAN (Radford et al., "Unsupervised representation learning with deep convolutional generative adversarial networks", ICLR 2016)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, final

import numpy as np

from polymodel import nn
from polymodel.errors import ConfigError
from polymodel.nn import functional as F
from polymodel.nn import init
from polymodel.tensor import Tensor


@final
class Generator(nn.Module):
    """Noise to images: (batch, noise) -> (batch, channels, image, image) in (-1, 1).

    A transposed convolution onto 4 x 4, then one of 4 x 4 with stride 2 for each doubling, BatchNorm and ReLU between them, tanh at the end
    (section 3, in the kernel size of the authors' code). Weights start normal with deviation 0.02, scales of BatchNorm around 1.

    Args:
        noise: size of the noise.
        channels: of the image.
        image: height and width, a power of 2 from 8.
        width: channels before the last layer; each layer before has twice as many.

    Raises:
        ConfigError: another image size.
    """

    def __init__(self, noise: int = 100, channels: int = 3, image: int = 64, width: int = 64) -> None:
        super().__init__()
        sizes = [width * 2**i for i in range(_doublings(image))][::-1]
        layers: list[nn.Module[Any]] = [nn.ConvTranspose2d(noise, sizes[0], 4, bias=False), nn.BatchNorm2d(sizes[0]), nn.ReLU()]
        for before, after in pairwise(sizes):
            layers += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False), nn.Tanh())
        _started(self.layers)

    def forward(self, z: Tensor) -> Tensor:
        """Images."""
        image: Tensor = self.layers(F.unsqueeze(z, (2, 3)))
        return image


@final
class Discriminator(nn.Module):
    """Images to one logit, above 0 for real: (batch, channels, image, image) -> (batch, 1).

    Convolutions of 4 x 4 with stride 2 down to 4 x 4, LeakyReLU of 0.2, BatchNorm in all but the first and the last layer (section 3).
    Arguments and start as in Generator.
    """

    def __init__(self, channels: int = 3, image: int = 64, width: int = 64) -> None:
        super().__init__()
        sizes = [width * 2**i for i in range(_doublings(image))]
        layers: list[nn.Module[Any]] = [nn.Conv2d(channels, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
        for before, after in pairwise(sizes):
            layers += [nn.Conv2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(sizes[-1], 1, 4, bias=False))
        _started(self.layers)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        return F.flatten(self.layers(x))


def _doublings(image: int) -> int:
    count = image.bit_length() - 3
    if count < 1 or image != 2 ** (count + 2):
        raise ConfigError(f"DCGAN doubles 4 x 4 pixels: expected an image of 8, 16, 32, 64 ..., received {image}")
    return count


def _started(layers: Iterable[nn.Module[Any]]) -> None:
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.weight.init = init.normal(0.02)
        elif isinstance(layer, nn.BatchNorm2d) and layer.weight is not None:
            layer.weight.init = _around_one


def _around_one(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return generator.normal(1.0, 0.02, shape)
