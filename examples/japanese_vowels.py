"""An LSTM on sequences of different lengths: nine speakers told apart by how they say two vowels (Kudo et al., 1999).

270 sequences to train, 370 to test, of 7 to 29 steps of 12 numbers. The files are those of the package aeon:

    pip download --no-deps aeon && unzip -q aeon-*.whl 'aeon/datasets/data/JapaneseVowels/*'
    python examples/japanese_vowels.py --data aeon/datasets/data/JapaneseVowels --backend torch

With --quick the sequences are made up, so that the script runs in seconds and without the package.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

import numpy as np

import polymodel as pm

FILE = "JapaneseVowels_{}.ts"
SIZE, CLASSES = 12, 9
Sequences = list[np.ndarray]


def read(path: Path) -> tuple[Sequences, np.ndarray]:
    """The sequences of a .ts file, each (steps, SIZE), and their classes from 0."""
    sequences, labels = [], []
    lines = path.read_text(encoding="utf-8").splitlines()
    for line in lines[lines.index("@data") + 1 :]:
        *columns, label = line.split(":")
        sequences.append(np.array([[float(v) for v in c.split(",")] for c in columns], np.float32).T)
        labels.append(int(label) - 1)
    return sequences, np.array(labels, np.int64)


def made(count: int, seed: int) -> tuple[Sequences, np.ndarray]:
    """Noise around a point for each class."""
    centres = np.random.default_rng(99).standard_normal((CLASSES, SIZE))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    return [(centres[i] + rng.standard_normal((rng.integers(7, 30), SIZE))).astype(np.float32) for i in labels], labels


def padded(sequences: Sequences, time: int, mean: np.ndarray, std: np.ndarray) -> dict[str, np.ndarray]:
    """The model's inputs: zeros behind each sequence, and how many steps of it count."""
    x = np.zeros((len(sequences), time, SIZE), np.float32)
    for row, sequence in zip(x, sequences, strict=True):
        row[: len(sequence)] = (sequence - mean) / std
    return {"x": x, "lengths": np.array([len(s) for s in sequences], np.int32)}


def folder() -> Path:
    """Where the installed package has the files."""
    found = importlib.util.find_spec("aeon")
    if found is None or found.origin is None:
        sys.exit("the package aeon is not installed: give its files with --data, or try --quick")
    return Path(found.origin).parent / "datasets/data/JapaneseVowels"


def main(arguments: list[str] | None = None) -> float:
    """Train and return the test accuracy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", help="torch, tensorflow or mxnet")
    parser.add_argument("--cell", choices=("lstm", "gru"), default="lstm")
    parser.add_argument("--data", type=Path, help="folder of the .ts files; that of the installed package aeon by default")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--quick", action="store_true", help="made sequences, a small model")
    options = parser.parse_args(arguments)

    if options.quick:
        train, test, hidden, epochs = made(256, 0), made(128, 1), 24, 8
    else:
        place = options.data or folder()
        train, test = read(place / FILE.format("TRAIN")), read(place / FILE.format("TEST"))
        hidden, epochs = 64, options.epochs
    steps = np.concatenate(train[0])
    mean, std = steps.mean(0), steps.std(0)
    time = max(len(s) for s in (*train[0], *test[0]))

    model = pm.models.build(
        options.cell, inputs=SIZE, hidden=hidden, classes=CLASSES, bidirectional=True, dropout=0.3, time=time, lengths=True
    )
    trainer = pm.Trainer(
        model, "cross_entropy", {"name": "adam", "lr": 5e-3}, ["accuracy"], schedule={"name": "cosine", "length": epochs},
        clip={"norm": 1.0}, backend=options.backend, device="cpu",
    )
    trainer.fit((padded(train[0], time, mean, std), train[1]), epochs=epochs, batch_size=30)
    found = trainer.evaluate((padded(test[0], time, mean, std), test[1]))
    print(f"{trainer.program.backend.name}: test accuracy {found['accuracy']:.2%}, loss {found['loss']:.3f}, {len(test[1])} sequences")
    return float(found["accuracy"])


if __name__ == "__main__":
    main()
