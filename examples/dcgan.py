"""DCGAN on Fashion-MNIST, on any backend, with a grid of what it makes.

    python examples/dcgan.py --backend torch --epochs 5 --picture grid.png

The data are those of the Debian package dataset-fashion-mnist. The images of 28 x 28 get a border of two pixels. With --quick it
is the digits of scikit-learn and few steps.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import polymodel as pm

F = pm.nn.functional
NOISE = 64


def clothes() -> np.ndarray:
    """60000 images (1, 32, 32), float32 in [-1, 1]."""
    images = pm.data.fashion_mnist("train").x
    scaled = images.reshape(-1, 1, 28, 28).astype(np.float32) / 127.5 - 1.0
    return np.pad(scaled, ((0, 0), (0, 0), (2, 2), (2, 2)), constant_values=-1.0)


def digits() -> np.ndarray:
    """1797 images (1, 8, 8), float32 in [-1, 1]."""
    from sklearn.datasets import load_digits

    found: np.ndarray = load_digits().images.astype(np.float32)[:, None] / 8.0 - 1.0
    return found


def build(image: int, width: int, backend: str | None) -> pm.TrainStep:
    """The two networks of polymodel.models with the phases of the paper, and its Adam(2e-4, 0.5)."""
    generator = pm.models.build("dcgan_generator", noise=NOISE, channels=1, image=image, width=width)
    discriminator = pm.models.build("dcgan_discriminator", seed=1, channels=1, image=image, width=width)

    def judge(models: Any, batch: Any) -> Any:
        real = models.discriminator(batch["image"])
        made = models.discriminator(models.generator(F.normal(("batch", NOISE))))
        return pm.losses.apply("bce_with_logits", real, 1.0) + pm.losses.apply("bce_with_logits", made, 0.0)

    def fool(models: Any, batch: Any) -> Any:
        return pm.losses.apply("bce_with_logits", models.discriminator(models.generator(F.normal(("batch", NOISE)))), 1.0)

    adam = pm.optim.Adam(2e-4, betas=(0.5, 0.999))
    return pm.TrainStep(
        {"generator": generator, "discriminator": discriminator},
        {"judge": pm.Phase(judge, "discriminator", adam), "fool": pm.Phase(fool, "generator", adam)},
        {"image": pm.TensorSpec(("batch", 1, image, image))},
        backend=backend, device="cpu",
    )  # fmt: skip


def grid(images: np.ndarray, columns: int = 8) -> np.ndarray:
    """Images (n, 1, size, size) in [-1, 1] side by side, uint8."""
    rows = [np.concatenate(list(images[i : i + columns, 0]), 1) for i in range(0, len(images), columns)]
    whole: np.ndarray = np.clip((np.concatenate(rows) + 1) * 127.5, 0, 255).astype(np.uint8)
    return whole


def main(arguments: Sequence[str] | None = None) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Train, print, and return the history and 32 images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", help="torch, tensorflow or mxnet")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--picture", type=Path, help="where a grid of 32 images goes")
    parser.add_argument("--quick", action="store_true", help="small images, few steps")
    options = parser.parse_args(arguments)
    images = digits()[:512] if options.quick else clothes()[: options.images]
    step = build(images.shape[-1], 8 if options.quick else options.width, options.backend)
    step.fit(images, epochs=2 if options.quick else options.epochs, batch_size=64)
    noise = pm.random.generator(0, "noise", "grid").standard_normal((32, NOISE), dtype=np.float32)
    made = np.asarray(step.predict("generator", noise))
    history = [dict(row) for row in step.history]
    print(history[-1])
    if options.picture is not None:
        from PIL import Image

        Image.fromarray(grid(made)).save(options.picture)
    return history, made


if __name__ == "__main__":
    main()
