"""Residual networks (He et al., "Deep residual learning for image recognition", CVPR 2016).

The bottleneck has its stride in the 3 x 3 convolution (version 1.5, Goyal et al., 2017, and torchvision) and not in the first 1 x 1
convolution, as the paper and Keras have it.
"""

from __future__ import annotations

from typing import Any, final

from polymodel import nn
from polymodel.errors import ConfigError
from polymodel.nn import functional as F
from polymodel.tensor import Tensor

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
"""Blocks of each of the four stages by the number of weight layers: table 1."""


@final
class BasicBlock(nn.Module):
    """Two convolutions of 3 x 3 and a shortcut; the shortcut is a convolution of 1 x 1 where the shape changes."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, height, width) -> (batch, outputs, height / stride, width / stride)."""
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


@final
class Bottleneck(nn.Module):
    """1 x 1 down to `width` channels, 3 x 3 with the stride, 1 x 1 up to four times as many, and a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(4 * width)
        self.shortcut = _shortcut(inputs, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, height, width) -> (batch, 4 width, height / stride, width / stride)."""
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


@final
class ResNet(nn.Module):
    """Four stages of residual blocks, mean over space, a linear layer: (batch, channels, height, width) -> (batch, classes).

    Args:
        depth: weight layers: 18 or 34 with basic blocks, 50 with bottlenecks.
        classes: size of the output.
        channels: of the image.
        small: begin with a 3 x 3 convolution and no pooling, as is usual for images of about 32 x 32, instead of 7 x 7 with stride
            2 and max pooling.
        width: channels of the first stage; each other one has twice as many as the one before.
        blocks: of each stage; those of table 1 when None.

    Raises:
        ConfigError: another depth.

    Example:
        >>> len(ResNet(50).blocks)
        16
    """

    def __init__(
        self,
        depth: int = 18,
        classes: int = 1000,
        channels: int = 3,
        small: bool = False,
        width: int = 64,
        blocks: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        if depth not in BLOCKS:
            raise ConfigError(f"ResNet has {', '.join(map(str, BLOCKS))} weight layers, received {depth}")
        self.small = small
        self.conv = nn.Conv2d(channels, width, 3, 1, 1, bias=False) if small else nn.Conv2d(channels, width, 7, 2, 3, bias=False)
        self.norm = nn.BatchNorm2d(width)
        block = Bottleneck if depth >= 50 else BasicBlock
        found: list[nn.Module[Any]] = []
        inputs = width
        for stage, count in enumerate(blocks or BLOCKS[depth]):
            for i in range(count):
                found.append(block(inputs, width * 2**stage, 2 if stage and not i else 1))
                inputs = width * 2**stage * block.expansion
        self.blocks = nn.Sequential(*found)
        self.head = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = F.relu(self.norm(self.conv(x)))
        if not self.small:
            x = F.max_pool2d(x, 3, 2, 1)
        return self.head(F.flatten(F.global_avg_pool2d(self.blocks(x))))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """The projection where the shape changes (option B of the paper)."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
