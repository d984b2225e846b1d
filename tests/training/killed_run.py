"""A run with augmentation, dropout, a schedule and an average that is killed again and again; started by test_kill.py.

Each start forks a child that resumes from the newest checkpoint of FOLDER and saves after every step. This process
loads the framework once, and kills its child after a random time, KILLS times; then the last child may finish.

    python killed_run.py FOLDER KILLS SEED WIDTH
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np

import polymodel as pm
from polymodel import checkpoint, nn
from polymodel.callbacks import Checkpoints
from polymodel.data import ArrayDataset, Loader

SAMPLES, EPOCHS, BATCH = 64, 60, 8


def fit(folder: Path | None, width: int) -> pm.Trainer:
    """The run, from the newest checkpoint of a folder if there is one."""
    rng = np.random.default_rng(0)
    images = ArrayDataset(rng.integers(0, 256, (SAMPLES, 5, 4), np.uint8), rng.integers(0, 3, SAMPLES))
    module = nn.Sequential(nn.Flatten(), nn.Linear(6, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, 3))
    model = pm.Model(module, {"x": pm.TensorSpec(("batch", 1, 3, 2))}, ["logits"])
    optimizer = {"name": "sgd", "lr": 0.01, "momentum": 0.9, "ema": 0.99}
    schedule = {"name": "cosine", "length": EPOCHS}
    trainer = pm.Trainer(model, "cross_entropy", optimizer, schedule=schedule, backend="torch", device="cpu")
    saving = [] if folder is None else [Checkpoints(folder, every_steps=1, keep=2)]
    newest = None if folder is None else checkpoint.latest(folder)
    with Loader(images, BATCH, transforms=[{"random_crop": {"size": [3, 2], "padding": 1}}, "mirror"]) as loader:
        trainer.fit(loader, epochs=EPOCHS, callbacks=saving, resume=newest, progress=False)
    return trainer


def until_done(folder: Path, width: int, kills: int, chance: random.Random) -> int:
    """One run with up to `kills` kills; how many there were."""
    done = 0
    while True:
        child = os.fork()
        if child == 0:
            fit(folder, width)
            os._exit(0)
        if done < kills:
            time.sleep(chance.uniform(0.02, 0.25))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        newest = checkpoint.latest(folder)
        if newest is not None:
            checkpoint.load(newest)
        if not os.WIFSIGNALED(status):
            assert os.waitstatus_to_exitcode(status) == 0, "a resumed run failed"
            return done
        done += 1


def main() -> None:
    folder, kills, seed, width = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    pm.get_backend("torch")
    chance = random.Random(seed)
    done, runs = 0, list[Path]()
    while done < kills:  # a quick machine finishes a run between two kills
        runs.append(folder / f"run-{len(runs)}")
        done += until_done(runs[-1], width, kills - done, chance)
    whole = fit(None, width)
    wanted = {**whole.program.parameters, **whole.program.buffers, **whole.program.slots}
    for run in runs:
        found = checkpoint.load(run)
        got = {**found.parameters, **found.buffers, **found.slots}
        assert found.record["step"] == whole.step
        assert wanted.keys() == got.keys()
        assert all(wanted[n].tobytes() == got[n].tobytes() for n in wanted), "the resumed run ended with other bits"
    print(f"killed {done} times in {len(runs)} runs, each ended at step {whole.step} with the same bits")


if __name__ == "__main__":
    main()
