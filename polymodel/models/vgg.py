"""VGG (Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, final

from polymodel import nn
from polymodel.errors import ConfigError
from polymodel.nn import functional as F
from polymodel.tensor import Tensor

CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Convolutions of each of the five stages by the number of weight layers: columns A, B, D and E of table 1."""


@final
class VGG(nn.Module):
    """Five stages of 3 x 3 convolutions, each halved by max pooling, and three linear layers.

    (batch, channels, image, image) -> (batch, classes). Dropout as in section 3.1 of the paper.

    Args:
        depth: weight layers: 11, 13, 16 or 19.
        classes: size of the output.
        channels: of the image.
        image: height and width, a multiple of 32.
        width: channels of the first stage; the others have 2, 4, 8 and 8 times as many.
        hidden: size of the two hidden linear layers.
        dropout: probability in training behind each of them.

    Raises:
        ConfigError: another depth, or a size that five halvings do not fit.

    Example:
        >>> VGG(11, classes=10, image=32).features[0].out_channels
        64
    """

    def __init__(
        self,
        depth: int = 16,
        classes: int = 1000,
        channels: int = 3,
        image: int = 224,
        width: int = 64,
        hidden: int = 4096,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if depth not in CONVOLUTIONS:
            raise ConfigError(f"VGG has {', '.join(map(str, CONVOLUTIONS))} weight layers, received {depth}")
        if image < 32 or image % 32:
            raise ConfigError(f"VGG halves the image five times: expected a multiple of 32, received {image}")
        self.features = nn.Sequential(*_stages(CONVOLUTIONS[depth], channels, width))
        self.classifier = nn.Sequential(
            nn.Linear(8 * width * (image // 32) ** 2, hidden), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden, classes),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.classifier(F.flatten(self.features(x)))
        return logits


def _stages(counts: tuple[int, ...], channels: int, width: int) -> Iterator[nn.Module[Any]]:
    before = channels
    for count, factor in zip(counts, (1, 2, 4, 8, 8), strict=True):
        for _ in range(count):
            yield nn.Conv2d(before, factor * width, 3, padding=1)
            yield nn.ReLU()
            before = factor * width
        yield nn.MaxPool2d(2)
