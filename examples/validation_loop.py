"""A training loop written out, with a validation and a checkpoint every few steps: what a TensorFlow program does, on every backend.

Batches come from arrays, or from a tf.data.Dataset (--data tf), which every backend takes. A second call goes on from the newest
checkpoint of the folder, on any backend.

    python examples/validation_loop.py --backend tensorflow --data tf --folder run
    python examples/validation_loop.py --backend mxnet --steps 2000 --folder run
    python examples/validation_loop.py --quick

The data are those of the Debian package dataset-fashion-mnist; with --quick the digits of scikit-learn.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import polymodel as pm
from polymodel.training import checkpoint

Arrays = tuple[np.ndarray, np.ndarray]


def samples(quick: bool) -> tuple[Arrays, Arrays]:
    """Images (n, 1, height, width), float32 in [0, 1], and labels, int64: to train on, and held out."""
    if quick:
        from sklearn.datasets import load_digits

        digits = load_digits()
        x, y = digits.images.astype(np.float32)[:, None] / 16, digits.target.astype(np.int64)
        return (x[:1400], y[:1400]), (x[1400:], y[1400:])
    parts = [pm.data.fashion_mnist(part) for part in ("train", "test")]
    train, held = ((p.x.reshape(-1, 1, 28, 28).astype(np.float32) / 255, p.y.astype(np.int64)) for p in parts)
    return train, held


def batches(x: np.ndarray, y: np.ndarray, size: int) -> Iterator[Arrays]:
    """Shuffled batches without end, cut from arrays."""
    rng = np.random.default_rng(0)
    while True:
        order = rng.permutation(len(x))
        for i in range(0, len(x) - size + 1, size):
            yield x[order[i : i + size]], y[order[i : i + size]]


def pipeline(x: np.ndarray, y: np.ndarray, size: int) -> Any:
    """The same as a tf.data.Dataset."""
    import tensorflow as tf

    whole = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x), seed=0)
    return whole.batch(size, drop_remainder=True).repeat().prefetch(2).as_numpy_iterator()


def main(arguments: Sequence[str] | None = None) -> list[float]:
    """Train, print, and return the accuracy of each validation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", help="torch, tensorflow or mxnet")
    parser.add_argument("--data", default="arrays", choices=("arrays", "tf"))
    parser.add_argument("--steps", type=int, default=1000, help="of the whole run")
    parser.add_argument("--validate-every", type=int, default=200, metavar="STEPS")
    parser.add_argument("--save-every", type=int, default=500, metavar="STEPS")
    parser.add_argument("--folder", type=Path, help="of the checkpoints; a temporary one if left out")
    parser.add_argument("--quick", action="store_true", help="small images, 60 steps")
    options = parser.parse_args(arguments)
    if options.quick:
        options.steps, options.validate_every, options.save_every = 60, 20, 30
    folder = options.folder or Path(tempfile.mkdtemp())
    train, held = samples(options.quick)
    image = train[0].shape[-1]
    model = pm.models.build("digits_cnn") if options.quick else pm.models.build("lenet", channels=1, image=image)
    trainer = pm.Trainer(model, "cross_entropy", pm.optim.Adam(2e-3), metrics=["accuracy"], backend=options.backend)
    newest = checkpoint.latest(folder)
    if newest is not None:
        trainer.load_checkpoint(newest)
        print(f"going on from {newest}")
    make, found = pipeline if options.data == "tf" else batches, list[float]()
    for x, y in make(*train, 64):
        if trainer.step >= options.steps:
            break
        row = trainer.train_on_batch(x, y)
        if trainer.step % options.validate_every == 0:
            score = trainer.evaluate(held)
            found.append(score["accuracy"])
            print(f"step {trainer.step}: loss {row['loss']:.4f}, validation accuracy {score['accuracy']:.4f}", flush=True)
        if trainer.step % options.save_every == 0:
            trainer.save_checkpoint(folder / f"step-{trainer.step}")
    print(f"{trainer.step} steps on {trainer.program.backend.name}; the newest checkpoint is {checkpoint.latest(folder)}")
    return found


if __name__ == "__main__":
    main()
