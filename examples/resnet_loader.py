"""ResNet from a data loader with cross entropy and Adam, and its validation accuracy: what a PyTorch program does, on every backend.

The loader may be torch.utils.data.DataLoader (--loader torch), whose tensors every backend takes, or polymodel's own, whose batches
are the same bits on every backend.

    python examples/resnet_loader.py --backend mxnet
    python examples/resnet_loader.py --depth 50 --loader torch --backend tensorflow
    python examples/resnet_loader.py --quick
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

import polymodel as pm
from polymodel.callbacks import Lines
from polymodel.data import ArrayDataset, Loader, fashion_mnist


def stripes(count: int, seed: int) -> ArrayDataset:
    """Noisy images of 28 x 28 with stripes in one of ten widths and directions, to try this out without any data."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count)
    frequencies = np.array([0.4, 0.8, 1.2, 1.6, 2.0])[labels % 5]
    lines = np.sin(np.arange(28) * frequencies[:, None] + rng.uniform(0, 6, (count, 1)))
    images = np.where(labels[:, None, None] < 5, lines[:, :, None], lines[:, None, :])
    return ArrayDataset(np.clip(127 + 90 * images + rng.normal(0, 20, images.shape), 0, 255).astype(np.uint8), labels)


def loaders(kind: str, train: ArrayDataset, held: ArrayDataset, batch_size: int) -> tuple[Any, Any]:
    """A loader of augmented batches to train on, and one to validate on."""
    if kind == "polymodel":
        crop = {"random_crop": {"size": 28, "padding": 2}}
        chain, still = [crop, "mirror", {"normalize": {"mean": 0.286, "std": 0.353}}], [{"normalize": {"mean": 0.286, "std": 0.353}}]
        return Loader(train, batch_size, transforms=chain), Loader(held, 256, transforms=still, shuffle=False)
    import torch

    def tensors(data: ArrayDataset) -> Any:
        images = torch.from_numpy(data.x.transpose(0, 3, 1, 2).astype(np.float32) / 255 - 0.286) / 0.353
        return torch.utils.data.TensorDataset(images, torch.from_numpy(data.y))

    torch.manual_seed(0)
    make = torch.utils.data.DataLoader
    return make(tensors(train), batch_size, shuffle=True), make(tensors(held), 256)


def main() -> None:
    """Train, and print a line for each epoch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", help="torch, tensorflow or mxnet")
    parser.add_argument("--depth", type=int, default=18, choices=(18, 34, 50))
    parser.add_argument("--loader", default="polymodel", choices=("polymodel", "torch"))
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="little data and a narrow network")
    options = parser.parse_args()
    train, held = (stripes(256, 0), stripes(128, 1)) if options.quick else (fashion_mnist("train"), fashion_mnist("test"))
    small = {"width": 8} if options.quick else {}
    model = pm.models.build("resnet18", depth=options.depth, channels=1, image=28, classes=10, **small)
    trainer = pm.Trainer(model, loss="cross_entropy", optimizer=pm.optim.Adam(2e-3), metrics=["accuracy"], backend=options.backend)
    batches, validation = loaders(options.loader, train, held, 32 if options.quick else 128)
    history = trainer.fit(batches, epochs=options.epochs, validation=validation, callbacks=[Lines(print)], progress=False)
    print(f"validation accuracy {history[-1]['val_accuracy']:.4f} on {trainer.program.backend.name}")


if __name__ == "__main__":
    main()
