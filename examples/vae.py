"""A variational autoencoder on Fashion-MNIST, on any backend, with a grid of what it draws.

    python examples/vae.py --backend mxnet --epochs 10 --picture grid.png

The noise of the reparameterisation comes from polymodel's streams, so every backend trains on the same bits. A picture is
decoded from a code that is drawn from the prior. The data are those of the Debian package
dataset-fashion-mnist; with --quick the digits of scikit-learn.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import polymodel as pm

F = pm.nn.functional


def samples(quick: bool) -> np.ndarray:
    """Images (n, pixels), float32 in [0, 1]."""
    if quick:
        from sklearn.datasets import load_digits

        digits: np.ndarray = load_digits().data.astype(np.float32) / 16
        return digits
    images: np.ndarray = pm.data.fashion_mnist("train").x.reshape(-1, 784).astype(np.float32) / 255
    return images


def epochs(x: np.ndarray, latent: int, size: int, seed: int) -> Callable[[int], Iterator[Any]]:
    """A function from the epoch's number to its batches: shuffled, with fresh noise."""

    def epoch(number: int) -> Iterator[Any]:
        order = pm.random.generator(seed, "order", step=number).permutation(len(x))
        draws = pm.models.noise(seed, number, len(x), latent)
        for i in range(0, len(x), size):
            part = x[order[i : i + size]]
            yield {"x": part, "noise": draws[i : i + size]}, {"logits": part, "kl": np.zeros((len(part), 1), np.float32)}

    return epoch


class Decoder(pm.nn.Module[Any]):
    """The second half of polymodel.models' VAE: codes (n, latent) to pictures (n, pixels) in [0, 1]."""

    def __init__(self, latent: int, hidden: int, pixels: int) -> None:
        super().__init__()
        self.decoder, self.head = pm.nn.Linear(latent, hidden), pm.nn.Linear(hidden, pixels)

    def forward(self, code: Any) -> Any:
        """Codes to pictures."""
        return F.sigmoid(self.head(F.tanh(self.decoder(code))))


def draw(trained: pm.Model, codes: np.ndarray, backend: str | None) -> np.ndarray:
    """What a trained model makes of codes."""
    pixels, hidden = trained.values["head.weight"].shape
    model = pm.Model(Decoder(codes.shape[1], hidden, pixels), {"code": pm.TensorSpec(("n", codes.shape[1]))}, ["picture"])
    model.values = {n: trained.values[n] for n in model.values}
    pictures: np.ndarray = pm.compile(model.graph, backend=backend, device="cpu").predict({"code": codes})["picture"]
    return pictures


def main(arguments: Sequence[str] | None = None) -> tuple[list[float], np.ndarray]:
    """Train, print, and return the bound of each epoch (nats a picture) and 32 pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", help="torch, tensorflow or mxnet")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--latent", type=int, default=20)
    parser.add_argument("--picture", type=Path, help="where a grid of 32 pictures goes")
    parser.add_argument("--quick", action="store_true", help="small images, three epochs")
    options = parser.parse_args(arguments)
    x = samples(options.quick)
    pixels = x.shape[1]
    hidden, count = (64, 3) if options.quick else (500, options.epochs)
    model = pm.models.build("vae", pixels=pixels, hidden=hidden, latent=options.latent)
    goal = {"logits": "bce_with_logits", "kl": "mae"}
    trainer = pm.Trainer(model, goal, pm.optim.Adam(1e-3), backend=options.backend, device="cpu")
    history = trainer.fit(epochs(x, options.latent, 128, trainer.seed), epochs=count, progress=False)
    bounds = [-row["loss"] * pixels for row in history]
    for number, bound in enumerate(bounds, 1):
        print(f"epoch {number}: evidence lower bound {bound:.2f} nats a picture")
    pictures = draw(model, pm.models.noise(1, 0, 32, options.latent), options.backend)
    if options.picture is not None:
        from PIL import Image

        side = int(pixels**0.5)
        rows = pictures.reshape(4, 8, side, side).transpose(0, 2, 1, 3).reshape(4 * side, 8 * side)
        Image.fromarray((rows * 255).astype(np.uint8)).resize((16 * side, 8 * side)).save(options.picture)
    return bounds, pictures


if __name__ == "__main__":
    main()
