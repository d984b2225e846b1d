"""MobileNetV2 (Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from polymodel import nn
from polymodel.nn import functional as F
from polymodel.tensor import Tensor

ROWS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Table 2 of the paper: expansion t, channels c, repetitions n, stride s of the first of them."""


@final
class InvertedResidual(nn.Module):
    """1 x 1 up to `expansion` times the channels, 3 x 3 on each channel, 1 x 1 down without activation (table 1)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int, eps: float) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = _convolve(inputs, hidden, 1, 1, 1, eps) if expansion != 1 else None
        self.depthwise = _convolve(hidden, hidden, 3, stride, hidden, eps)
        self.project = nn.Sequential(nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs, eps))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, height, width) -> (batch, outputs, height / stride, width / stride)."""
        wide = x if self.expand is None else self.expand(x)
        y: Tensor = self.project(self.depthwise(wide))
        return x + y if self.residual else y


@final
class MobileNetV2(nn.Module):
    """Inverted residual blocks between two convolutions, mean over space, a linear layer.

    (batch, channels, height, width) -> (batch, classes). Strided windows are padded at both ends, as in torchvision; Keras pads the
    end only where a size is even.

    Args:
        classes: size of the output.
        channels: of the image.
        width: multiplier of all channels, which are rounded to multiples of 8.
        rows: the table of blocks.
        last: channels before the mean, multiplied by the width only where that is above 1.
        dropout: probability in training before the linear layer.
        eps: of BatchNorm; 1e-5 in torchvision, 1e-3 in Keras and the authors' code.

    Example:
        >>> len(MobileNetV2().blocks)
        17
    """

    def __init__(
        self,
        classes: int = 1000,
        channels: int = 3,
        width: float = 1.0,
        rows: Sequence[Sequence[int]] = ROWS,
        last: int = 1280,
        dropout: float = 0.2,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        inputs = _eights(32 * width)
        self.conv = _convolve(channels, inputs, 3, 2, 1, eps)
        blocks: list[nn.Module[Any]] = []
        for expansion, c, count, stride in rows:
            for i in range(count):
                blocks.append(InvertedResidual(inputs, _eights(c * width), 1 if i else stride, expansion, eps))
                inputs = _eights(c * width)
        self.blocks = nn.Sequential(*blocks)
        outputs = _eights(last * max(1.0, width))
        self.last = _convolve(inputs, outputs, 1, 1, 1, eps)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(outputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = F.global_avg_pool2d(self.last(self.blocks(self.conv(x))))
        return self.head(self.dropout(F.flatten(x)))


def _convolve(inputs: int, outputs: int, kernel: int, stride: int, groups: int, eps: float) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs, eps), nn.ReLU6())


def _eights(channels: float) -> int:
    """The nearest multiple of 8 that is not more than a tenth below (the authors' `make_divisible`)."""
    found = max(8, int(channels + 4) // 8 * 8)
    return found + 8 if found < 0.9 * channels else found
