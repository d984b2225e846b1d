"""ResNet-18 for 32 x 32 images (He et al., 2016; first layer 3 x 3 without pooling, as usual for small images)."""

from __future__ import annotations

from typing import final

from polymodel import nn
from polymodel.nn import functional as F
from polymodel.tensor import Tensor


@final
class BasicBlock(nn.Module):
    """Two convolutions of 3 x 3 and a shortcut; the shortcut is a convolution of 1 x 1 where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            if stride != 1 or inputs != outputs
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, height, width) -> (batch, outputs, height / stride, width / stride)."""
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


@final
class ResNet18(nn.Module):
    """Eight residual blocks of 64 to 512 channels: (batch, 3, 32, 32) -> (batch, classes)."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(64)
        stages = ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2))
        self.blocks = nn.Sequential(
            *(b for i, o, s in stages for b in (BasicBlock(i, o, s), BasicBlock(o, o, 1)))
        )
        self.head = nn.Linear(512, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = self.blocks(F.relu(self.norm(self.conv(x))))
        return self.head(F.flatten(F.global_avg_pool2d(x)))
