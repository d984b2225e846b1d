"""A run with augmentation, dropout, a schedule and an average that is killed again and again; started by test_kill.py.

Each start forks a child that resumes from the newest checkpoint of FOLDER and saves after every step. This process
loads the framework once, and kills its child after a random time, KILLS times; then the last child may finish.

    python killed_run.py BACKEND FOLDER KILLS SEED WIDTH

The run has whatever a resumed one could get wrong: samples augmented at random each epoch, dropout, running statistics, momentum,
a schedule, moving averages, and a last batch that is smaller. MXNet's engine has threads that a forked child lacks, so there
each child is a process of its own, which has loaded the framework before its clock starts.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import polymodel as pm
from polymodel import nn
from polymodel.callbacks import Checkpoints
from polymodel.data import ArrayDataset, Loader
from polymodel.training import checkpoint

SAMPLES, EPOCHS, BATCH = 60, 40, 8
STEPS = EPOCHS * -(-SAMPLES // BATCH)
LOADED = "loaded"


def fit(backend: str, folder: Path | None, width: int) -> pm.Trainer:
    """The run, from the newest checkpoint of a folder if there is one."""
    rng = np.random.default_rng(0)
    images = ArrayDataset(rng.integers(0, 256, (SAMPLES, 5, 4), np.uint8), rng.integers(0, 3, SAMPLES))
    module = nn.Sequential(nn.Flatten(), nn.Linear(6, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, 3))
    model = pm.Model(module, {"x": pm.TensorSpec(("batch", 1, 3, 2))}, ["logits"])
    rule = {"name": "sgd", "lr": 0.01, "momentum": 0.9, "ema": {"decay": 0.9, "warmup": True}}
    schedule = {"name": "warmup", "length": 3, "unit": "epoch", "then": {"name": "cosine", "length": EPOCHS, "unit": "epoch"}}
    trainer = pm.Trainer(model, "cross_entropy", rule, schedule=schedule, backend=backend, device="cpu")
    saving = [] if folder is None else [Checkpoints(folder, every_steps=1, keep=2)]
    newest = None if folder is None else checkpoint.latest(folder)
    with Loader(images, BATCH, transforms=[{"random_crop": {"size": [3, 2], "padding": 1}}, "mirror"]) as loader:
        trainer.fit(loader, epochs=EPOCHS, callbacks=saving, resume=newest, progress=False)
    return trainer


@contextmanager
def child(backend: str, folder: Path, width: int) -> Iterator[Callable[[], int]]:
    """A process that goes on with the run, once it has loaded its framework; gives its id when called."""
    if backend == "torch":
        number = os.fork()
        if number == 0:
            fit(backend, folder, width)
            os._exit(0)
        yield lambda: number
        return
    command = [sys.executable, __file__, backend, str(folder), "child", "0", str(width)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == LOADED
        yield lambda: process.pid


def wait_for_a_step(number: int, folder: Path) -> None:
    """Until the child has saved a checkpoint, or has ended."""
    before = checkpoint.latest(folder)
    while checkpoint.latest(folder) == before:
        if os.waitid(os.P_PID, number, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
            return
        time.sleep(0.005)


def until_done(backend: str, folder: Path, width: int, kills: int, chance: random.Random) -> int:
    """One run with up to `kills` kills; how many there were."""
    done = 0
    while True:
        with child(backend, folder, width) as number:
            if done < kills:
                if chance.random() < 0.8:  # the others may be killed before they have done anything
                    wait_for_a_step(number(), folder)
                time.sleep(chance.uniform(0.0, 0.3))
                os.kill(number(), signal.SIGKILL)
            _, status = os.waitpid(number(), 0)
        newest = checkpoint.latest(folder)
        if newest is not None:
            checkpoint.load(newest)
        if not os.WIFSIGNALED(status):
            assert os.waitstatus_to_exitcode(status) == 0, "a resumed run failed"
            return done
        done += 1


def main() -> None:
    backend, folder, kills, seed, width = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
    pm.get_backend(backend)
    if kills == "child":
        print(LOADED, flush=True)
        fit(backend, folder, width)
        return
    chance = random.Random(seed)
    done, runs = 0, list[Path]()
    while done < int(kills):  # a quick machine finishes a run between two kills
        runs.append(folder / f"run-{len(runs)}")
        done += until_done(backend, runs[-1], width, int(kills) - done, chance)
    whole = fit(backend, None, width)
    wanted = {**whole.program.parameters, **whole.program.buffers, **whole.program.slots}
    for run in runs:
        found = checkpoint.load(run)
        got = {**found.parameters, **found.buffers, **found.slots}
        assert found.record["step"] == whole.step == STEPS
        assert wanted.keys() == got.keys()
        assert all(wanted[n].tobytes() == got[n].tobytes() for n in wanted), "the resumed run ended with other bits"
    print(f"{backend}: killed {done} times in {len(runs)} runs, each ended at step {whole.step} with the same bits")


if __name__ == "__main__":
    main()
