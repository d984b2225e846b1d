"""U-Net (Ronneberger et al., "U-Net: convolutional networks for biomedical image segmentation", MICCAI 2015)."""

from __future__ import annotations

from typing import final

from polymodel import nn
from polymodel.errors import ShapeError
from polymodel.nn import functional as F
from polymodel.tensor import Tensor


@final
class UNet(nn.Module):
    """A contracting path, and an expanding one that each level's picture is joined to (figure 1 of the paper).

    (batch, channels, height, width) -> (batch, classes, height', width'): a logit for each class and place. Without padding, as
    in the paper, 572 x 572 becomes 388 x 388; with padding the size stays.

    Args:
        channels: of the image.
        classes: of a place.
        width: channels of the first level; each deeper one has twice as many.
        depth: levels.
        padding: 0 for the paper's convolutions, 1 to keep the size.

    Raises:
        ShapeError: a picture cannot be halved on some level, or is too small.

    Example:
        >>> from polymodel import Model, TensorSpec
        >>> model = Model(UNet(1, 2, width=4), {"x": TensorSpec(("batch", 1, 572, 572))}, ["logits"])
        >>> print(model.graph.specs["logits"])
        float32[batch, 2, 388, 388]
    """

    def __init__(self, channels: int = 1, classes: int = 2, width: int = 64, depth: int = 5, padding: int = 0) -> None:
        super().__init__()
        sizes = [width * 2**level for level in range(depth)]
        self.down = nn.ModuleList(_twice(i, o, padding) for i, o in zip([channels, *sizes], sizes, strict=False))
        deeper = list(zip(sizes[:0:-1], sizes[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(i, o, 2, 2) for i, o in deeper)
        self.join = nn.ModuleList(_twice(i, o, padding) for i, o in deeper)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        kept: list[Tensor] = []
        for level, convolve in enumerate(self.down):
            if level:
                kept.append(x)
                x = F.max_pool2d(_even(x), 2)
            x = convolve(x)
        for grow, convolve in zip(self.up, self.join, strict=True):
            x = grow(x)
            x = convolve(F.concat([_crop(kept.pop(), x), x], 1))
        return self.head(x)


def _twice(inputs: int, outputs: int, padding: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=padding), nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=padding), nn.ReLU(),
    )  # fmt: skip


def _even(x: Tensor) -> Tensor:
    if any(isinstance(d, int) and d % 2 for d in x.shape[2:]):
        raise ShapeError(f"U-Net halves a picture of {x.spec}: choose an image whose height and width are even on every level")
    return x


def _crop(x: Tensor, like: Tensor) -> Tensor:
    """The middle of x, as large as another picture."""
    begins, ends = [], []
    for size, wanted in zip(x.shape[2:], like.shape[2:], strict=True):
        if not isinstance(size, int) or not isinstance(wanted, int):
            raise ShapeError(f"U-Net needs an image of known height and width, received {x.spec}")
        begins.append((size - wanted) // 2)
        ends.append((size - wanted) // 2 + wanted)
    if x.shape[2:] == like.shape[2:]:
        return x
    return x[:, :, begins[0] : ends[0], begins[1] : ends[1]]
