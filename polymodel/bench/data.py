"""How fast a training goes whose images are read from RecordIO files, augmented and prepared ahead, against the same from memory.

    python -m polymodel.bench.data --backends torch,tensorflow,mxnet --models resnet18,lenet

Epochs of both kinds alternate in one process; a ratio belongs to a pair of neighbours, and is that of their steps per second: 1.00 is
input that costs nothing. The images are JPEG files of a quarter more than the model's size in each direction; they are turned, cropped,
mirrored, coloured and normalised.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from polymodel import models
from polymodel.callbacks import Timing
from polymodel.cli.options import names
from polymodel.data import Loader, RecordDataset, write_images
from polymodel.options import CompileOptions
from polymodel.training.trainer import Trainer

CHAIN: Sequence[Any] = (
    {"rotate": {"degrees": 10}},
    "mirror",
    {"color_jitter": {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2}},
    {"normalize": {"mean": 0.45, "std": 0.25}},
)


def run(
    model: str, backend: str, folder: Path, *, pairs: int = 5, steps: int = 30, batch_size: int = 32, workers: int = 1, threads: int = 1,
    processes: bool = False,
) -> dict[str, Any]:
    """One row.

    Args:
        model: a name of polymodel.models.CATALOG whose input are square images.
        backend: its name.
        folder: the records are written there.
        pairs: of epochs.
        steps: of an epoch.
        batch_size: samples of a step.
        workers: threads that prepare batches.
        threads: of the backend.
        processes: instead of threads.

    Returns:
        ratio, ratio_min, ratio_max: steps per second with records / from memory; step_ms: from memory; prepare_ms: CPU time that a
        batch takes to prepare.
    """
    made = models.build(model)
    _, channels, size, _ = made.graph.specs["x"].shape
    assert isinstance(channels, int)
    assert isinstance(size, int)
    classes = made.graph.specs["logits"].shape[1]
    assert isinstance(classes, int)
    count, rng = steps * batch_size, np.random.default_rng(0)
    labels = rng.integers(0, classes, count)
    coarse = rng.integers(0, 256, (count, 5, 5, channels), np.uint8)
    images = coarse.repeat(-(-size // 4), 1).repeat(-(-size // 4), 2)[:, : size + size // 4, : size + size // 4]
    path = folder / f"{model}.rec"
    write_images(path, zip(images, labels, strict=True), "JPEG")
    memory = rng.standard_normal((count, channels, size, size), dtype=np.float32), labels
    chain = ({"random_crop": {"size": size}}, *CHAIN)
    options = CompileOptions(threads=threads)
    trainer = Trainer(made, "cross_entropy", "adam", ["accuracy"], backend=backend, device="cpu", options=options)

    records = RecordDataset(path, channels=channels)
    with Loader(records, batch_size, transforms=chain, workers=workers, processes=processes) as loader:
        began = time.process_time()
        with Loader(loader.dataset, batch_size, transforms=chain, workers=0) as alone:
            for _ in alone:
                pass
        prepare = (time.process_time() - began) / steps
        rates = [(_rate(trainer, memory, batch_size), _rate(trainer, loader, batch_size)) for _ in range(pairs + 1)][1:]
    ratios = [b / a for a, b in rates]
    return {
        "model": model, "backend": backend, "batch_size": batch_size, "workers": workers, "processes": processes,
        "threads": threads,
        "ratio": median(ratios), "ratio_min": min(ratios), "ratio_max": max(ratios),
        "step_ms": 1e3 / median(a for a, _ in rates), "prepare_ms": 1e3 * prepare,
    }  # fmt: skip


def _rate(trainer: Trainer, data: Any, batch_size: int) -> float:
    timing = Timing()
    trainer.fit(data, epochs=1, batch_size=batch_size, callbacks=[timing], progress=False)
    return timing.rows[-1]["steps_per_second"]


def main() -> None:
    """Print a line for each model and backend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", default="torch,tensorflow,mxnet")
    parser.add_argument("--models", default="resnet18,lenet")
    for name, default in (("pairs", 5), ("steps", 30), ("batch-size", 32), ("workers", 1), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--processes", action="store_true", help="prepare batches in processes instead of threads")
    given = vars(parser.parse_args())
    backends, wanted = names(given.pop("backends")), names(given.pop("models"))
    with tempfile.TemporaryDirectory() as folder:
        for model in wanted:
            for backend in backends:
                row = run(model, backend, Path(folder), **given)
                print(
                    f"{model} on {backend}: {row['ratio']:.3f} ({row['ratio_min']:.3f}-{row['ratio_max']:.3f}) of the steps per second "
                    f"from memory; step {row['step_ms']:.1f} ms, CPU time to prepare a batch of {row['batch_size']} "
                    f"{row['prepare_ms']:.1f} ms",
                    flush=True,
                )


if __name__ == "__main__":
    main()
