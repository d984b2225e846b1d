"""Hand-written networks of the size that people import: ResNet-50 and an encoder as large as BERT-base."""

from __future__ import annotations

from typing import final

from torch import nn
from torch.nn import functional as F

from polymodel_torch.compat import torch

_VOCABULARY, _POSITIONS, _WIDTH, _HEADS, _HIDDEN, _LAYERS = 30522, 512, 768, 12, 3072, 12
_EPSILON = 1e-12


@final
class _Bottleneck(nn.Module):  # type: ignore[misc]
    """Three convolutions and a shortcut; the stride is in the middle one (v1.5)."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        after = 4 * width
        self.conv1, self.norm1 = nn.Conv2d(before, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.norm2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.norm3 = nn.Conv2d(width, after, 1, bias=False), nn.BatchNorm2d(after)
        self.shortcut = None
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.norm1(self.conv1(x)), inplace=True)
        h = F.relu(self.norm2(self.conv2(h)), inplace=True)
        return F.relu(self.norm3(self.conv3(h)) + (x if self.shortcut is None else self.shortcut(x)), inplace=True)


def resnet50() -> nn.Module:
    """Images (N, 3, 224, 224) to logits (N, 1000)."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(True), nn.MaxPool2d(3, 2, 1)
    ]  # fmt: skip
    before = 64
    for width, blocks, first in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(blocks):
            layers.append(_Bottleneck(before, width, 1 if i else first))
            before = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


@final
class _Layer(nn.Module):  # type: ignore[misc]
    """A transformer encoder layer, normalized last."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(_WIDTH, _WIDTH) for _ in range(4))
        self.norm1, self.norm2 = nn.LayerNorm(_WIDTH, _EPSILON), nn.LayerNorm(_WIDTH, _EPSILON)
        self.up, self.down = nn.Linear(_WIDTH, _HIDDEN), nn.Linear(_HIDDEN, _WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, time, width = x.shape
        q, k, v = (dense(x).view(batch, time, _HEADS, width // _HEADS).transpose(1, 2) for dense in (self.query, self.key, self.value))
        a = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, time, width)
        x = self.norm1(x + self.out(a))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


@final
class Bert(nn.Module):  # type: ignore[misc]
    """Token numbers (N, time) to logits (N, 2), from the state of the first token; no dropout, no padding."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(_VOCABULARY, _WIDTH), nn.Embedding(_POSITIONS, _WIDTH)
        self.norm = nn.LayerNorm(_WIDTH, _EPSILON)
        self.layers = nn.Sequential(*(_Layer() for _ in range(_LAYERS)))
        self.pooler, self.head = nn.Linear(_WIDTH, _WIDTH), nn.Linear(_WIDTH, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = torch.arange(x.shape[1], device=x.device)
        h = self.layers(self.norm(self.words(x) + self.positions(places)))
        return self.head(torch.tanh(self.pooler(h[:, 0])))
