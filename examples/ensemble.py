"""Three models of the digits images, each trained on another backend, and ensembles of them as one ONNX file each.

    python examples/ensemble.py --output ensemble-out

The members are a dense network, a GRU that reads an image row by row and one that reads it column by column: about as good as each other,
with errors of their own. The stacking layer is trained on samples that the members have not seen.

Files are verified in ONNX Runtime, which is also what the accuracies are computed with.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import polymodel as pm
from polymodel import nn
from polymodel.artifact import runtime
from polymodel.tensor import Tensor


class Pixels(nn.Module):
    """Images (batch, 1, 8, 8) to a module: as vectors, or as sequences of rows or columns."""

    def __init__(self, module: nn.Module, shape: Sequence[int], columns: bool = False) -> None:
        super().__init__()
        self.module, self.shape, self.columns = module, [0, *shape], columns

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = nn.functional.permute(x, (0, 1, 3, 2)) if self.columns else x
        return self.module(nn.functional.reshape(x, self.shape))


KINDS = ("dense", "rows", "columns")


def member(kind: str, seed: int) -> pm.Model:
    """One of the three, (batch, 1, 8, 8) -> (batch, 10)."""
    if kind == "dense":
        module = Pixels(pm.models.MLP((64, 96, 10)), [64])
    else:
        module = Pixels(pm.models.GRUClassifier(8, 64, 10, bidirectional=True), [8, 8], kind == "columns")
    return pm.Model(module, {"x": pm.TensorSpec(("batch", 1, 8, 8))}, ["logits"], seed=seed)


def accuracy(path: Path, x: np.ndarray, y: np.ndarray) -> float:
    """Of an exported file, in ONNX Runtime."""
    logits = runtime.run(runtime.session(path), {"x": x})["logits"]
    return float((logits.argmax(1) == y).mean())


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Train, export, print and return the test accuracies."""
    from sklearn.datasets import load_digits

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", default="torch,tensorflow,mxnet", help="of the three members")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--output", type=Path, help="folder for the files; a temporary one by default")
    parser.add_argument("--quick", action="store_true", help="few samples and epochs")
    options = parser.parse_args(arguments)
    epochs = 5 if options.quick else options.epochs

    pixels, labels = load_digits(return_X_y=True)
    x, y = (pixels / 16).astype(np.float32).reshape(-1, 1, 8, 8), labels.astype(np.int64)
    order = pm.random.generator(0, "split", "ensemble").permutation(len(x))
    parts = {"train": order[:700], "stack": order[700:1000], "test": order[1000:]}
    train, stack, (x_test, y_test) = ((x[i], y[i]) for i in parts.values())

    members = []
    for number, (kind, backend) in enumerate(zip(KINDS, options.backends.split(","), strict=True)):
        model = member(kind, number)
        trainer = pm.Trainer(model, "cross_entropy", {"name": "adam", "lr": 5e-3}, backend=backend, device="cpu", seed=number)
        trainer.fit(train, epochs=epochs, batch_size=32)
        members.append(model)
    stacked = pm.models.stacking(members)
    head = pm.Trainer(stacked, "cross_entropy", {"name": "adam", "lr": 1e-2}, device="cpu", backend=options.backends.split(",")[0])
    head.fit(stack, epochs=epochs, batch_size=32)

    names = [f"{kind}, trained on {b}" for kind, b in zip(KINDS, options.backends.split(","), strict=True)]
    found = dict(zip(names, members, strict=True))
    found |= {"averaging": pm.models.averaging(members), "voting": pm.models.voting(members), "stacking": stacked}
    scores = {}
    with tempfile.TemporaryDirectory() as temporary:
        for number, (name, model) in enumerate(found.items()):
            path = (options.output or Path(temporary)) / f"{number}-{name.split(',')[0]}.onnx"
            path.parent.mkdir(parents=True, exist_ok=True)
            pm.export(model.graph, path)
            scores[name] = accuracy(path, x_test, y_test)
            print(f"{name}: {scores[name]:.2%} of {len(x_test)} test images")
    return scores


if __name__ == "__main__":
    main()
