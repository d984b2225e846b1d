"""LeNet for 28 x 28 images (LeCun et al., 1998, with the sizes of Caffe's version)."""

from __future__ import annotations

from typing import final

from polymodel import nn
from polymodel.nn import functional as F
from polymodel.tensor import Tensor


@final
class LeNet(nn.Module):
    """Two convolutions of 5 x 5 with max pooling, two linear layers: (batch, channels, image, image) -> (batch, classes).

    Args:
        classes: size of the output.
        channels: of the image.
        image: height and width.
    """

    def __init__(self, classes: int = 10, channels: int = 1, image: int = 28) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.fc1 = nn.Linear(50 * (((image - 4) // 2 - 4) // 2) ** 2, 500)
        self.fc2 = nn.Linear(500, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(F.flatten(x))))
