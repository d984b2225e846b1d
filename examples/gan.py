"""A DCGAN on the digits of scikit-learn, on any backend.

    python examples/gan.py --backend mxnet --epochs 40

After Radford, Metz and Chintala, "Unsupervised representation learning with deep convolutional generative adversarial
networks", ICLR 2016: strided convolutions, BatchNorm in both networks, Adam(2e-4, betas=(0.5, 0.999)), weights N(0, 0.02), here at
8 x 8 pixels and with a rate for short runs.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import polymodel as pm
from polymodel import nn

F = nn.functional
CODE = 32
IMAGE = {"image": pm.TensorSpec(("batch", 1, 8, 8))}


def up(before: int, after: int) -> nn.ConvTranspose2d:
    """A transposed convolution that doubles height and width."""
    return nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False)


class Generator(nn.Module):
    """(batch, CODE) to images (batch, 1, 8, 8) in (-1, 1)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.first, self.norm = nn.Linear(CODE, 2 * width * 4), nn.BatchNorm2d(2 * width)
        self.middle, self.middle_norm, self.last = up(2 * width, width), nn.BatchNorm2d(width), up(width, 1)

    def forward(self, z: Any) -> Any:
        x = F.relu(self.norm(F.reshape(self.first(z), (-1, 2 * self.width, 2, 2))))
        return F.tanh(self.last(F.relu(self.middle_norm(self.middle(x)))))


class Discriminator(nn.Module):
    """Images (batch, 1, 8, 8) to logits (batch, 1)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, width, 4, stride=2, padding=1)
        self.second, self.norm = nn.Conv2d(width, 2 * width, 4, stride=2, padding=1), nn.BatchNorm2d(2 * width)
        self.head = nn.Linear(2 * width * 4, 1)

    def forward(self, x: Any) -> Any:
        x = F.leaky_relu(self.first(x), 0.2)
        return self.head(F.flatten(F.leaky_relu(self.norm(self.second(x)), 0.2)))


def judge(models: Any, batch: Any) -> Any:
    """The discriminator's phase: real images are real, made ones are not."""
    real = models.discriminator(batch["image"])
    made = models.discriminator(models.generator(F.normal(("batch", CODE))))
    loss = pm.losses.apply("bce_with_logits", real, 1.0) + pm.losses.apply("bce_with_logits", made, 0.0)
    return {"loss": loss, "real": F.mean(F.sigmoid(real)), "made": F.mean(F.sigmoid(made))}


def fool(models: Any, batch: Any) -> Any:
    """The generator's phase: made images look real."""
    return pm.losses.apply("bce_with_logits", models.discriminator(models.generator(F.normal(("batch", CODE)))), 1.0)


def build(backend: str | None = None, width: int = 32, lr: float = 1e-3, seed: int = 0, device: str = "auto") -> pm.TrainStep:
    """The two networks with their phases."""
    generator = pm.Model(Generator(width), {"z": pm.TensorSpec(("batch", CODE))}, ["image"], seed=seed)
    discriminator = pm.Model(Discriminator(width), IMAGE, ["logit"], seed=seed)
    for model in (generator, discriminator):
        weights = [n for n, v in model.values.items() if v.ndim > 1]
        model.initialize({"name": "normal", "std": 0.02}, *weights)
    adam = pm.optim.Adam(lr, betas=(0.5, 0.999))
    return pm.TrainStep(
        {"generator": generator, "discriminator": discriminator},
        {"judge": pm.Phase(judge, "discriminator", adam), "fool": pm.Phase(fool, "generator", adam)},
        IMAGE,
        backend=backend, device=device, seed=seed,
    )  # fmt: skip


def digits() -> np.ndarray:
    """1797 images (1, 8, 8), float32 in [-1, 1]."""
    from sklearn.datasets import load_digits

    found: np.ndarray = load_digits().images.astype(np.float32)[:, None] / 8.0 - 1.0
    return found


def text(images: np.ndarray) -> str:
    """Images side by side as characters."""
    shades = " .:-=+*#%@"
    levels = np.clip(((images[:, 0] + 1) * 5).astype(int), 0, 9)
    return "\n".join("  ".join("".join(shades[v] * 2 for v in row) for row in line) for line in levels.transpose(1, 0, 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--export", type=Path)
    asked = parser.parse_args()
    step = build(asked.backend)
    step.fit(digits(), epochs=asked.epochs, batch_size=64)
    print(step.history[-1])
    print(text(step.predict("generator", np.random.default_rng(0).standard_normal((6, CODE), dtype=np.float32))))
    if asked.export is not None:
        step.export("generator", asked.export)


if __name__ == "__main__":
    main()
