"""A resumed run is bit-equal to an uninterrupted one, and a checkpoint that does not fit is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polymodel as pm
from polymodel.callbacks import Checkpoints, EarlyStopping
from polymodel.errors import CheckpointError
from polymodel.training import checkpoint

TrainerMaker = Callable[..., pm.Trainer]


def state(trainer: pm.Trainer) -> dict[str, bytes]:
    """The bits of everything that training changes."""
    program = trainer.program
    return {n: a.tobytes() for n, a in {**program.parameters, **program.buffers, **program.slots}.items()}


def rows(trainer: pm.Trainer) -> list[dict[str, float]]:
    """The history without what depends on the clock."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in trainer.history]


@pytest.mark.parametrize("steps", [6, 8, 11], ids=["epoch's end", "middle", "before the last batch"])
def test_a_resumed_run_is_bit_equal(toy: Any, trainer: TrainerMaker, backend: str, tmp_path: Path, steps: int) -> None:
    """90 samples in batches of 16: 6 steps an epoch, the last one of 10."""
    whole = trainer(backend)
    saving = Checkpoints(tmp_path / "all", every=0, every_steps=1, keep=0)
    whole.fit(toy.train, epochs=3, batch_size=16, validation=toy.held, callbacks=[saving], progress=False)

    resumed = trainer(backend)
    path = tmp_path / f"all/step-{steps:08d}"
    resumed.fit(toy.train, epochs=3, batch_size=16, validation=toy.held, resume=path, progress=False)
    assert resumed.step == whole.step == 18
    assert state(resumed) == state(whole)
    assert rows(resumed) == rows(whole)


@pytest.mark.parametrize("optimizer", [pm.optim.SGD(0.05, momentum=0.9, nesterov=True), pm.optim.AdamW(1e-2)])
def test_every_optimizer_resumes(toy: Any, trainer: TrainerMaker, tmp_path: Path, optimizer: Any) -> None:
    whole, first, second = (trainer(optimizer=optimizer) for _ in range(3))
    whole.fit(toy.train, epochs=4, progress=False)
    first.fit(toy.train, epochs=2, progress=False)
    first.save_checkpoint(tmp_path / "half")
    second.load_checkpoint(tmp_path / "half")
    second.fit(toy.train, epochs=2, progress=False)
    assert state(second) == state(whole)


def test_a_checkpoint_goes_to_any_backend(toy: Any, trainer: TrainerMaker, backend: str, tmp_path: Path) -> None:
    first = trainer("torch")
    first.fit(toy.train, epochs=2, batch_size=16, callbacks=[Checkpoints(tmp_path)], progress=False)
    other = trainer(backend)
    other.load_checkpoint(tmp_path)
    assert state(other) == state(first)
    assert other.evaluate(toy.held)["loss"] == pytest.approx(first.evaluate(toy.held)["loss"], rel=1e-5)
    before = other.evaluate(toy.train)["loss"]
    other.fit(toy.train, epochs=4, batch_size=16, resume=tmp_path, progress=False)
    assert other.epoch == 4
    assert other.evaluate(toy.train)["loss"] < before


def test_more_epochs_may_be_asked_for(toy: Any, trainer: TrainerMaker, tmp_path: Path) -> None:
    first = trainer()
    first.fit(toy.train, epochs=2, callbacks=[Checkpoints(tmp_path)], progress=False)
    second = trainer()
    second.fit(toy.train, epochs=2, resume=tmp_path, progress=False)
    assert (second.epoch, state(second)) == (2, state(first))
    second.fit(toy.train, epochs=3, resume=tmp_path, progress=False)
    assert second.epoch == 3


def test_early_stopping_goes_on_where_it_was(toy: Any, trainer: TrainerMaker, tmp_path: Path) -> None:
    def callbacks(folder: str) -> list[Any]:
        return [EarlyStopping("loss", patience=2, min_delta=100.0), Checkpoints(tmp_path / folder)]

    whole = trainer()
    whole.fit(toy.train, epochs=9, callbacks=callbacks("whole"), progress=False)
    assert whole.epoch == 3  # one that is best, two without a better one
    for done in (1, 2):
        copy = tmp_path / f"copy{done}"
        shutil.copytree(checkpoint.complete(tmp_path / "whole")[done - 1], copy / f"step-{3 * done:08d}")
        resumed = trainer()
        resumed.fit(toy.train, epochs=9, callbacks=callbacks(f"copy{done}"), resume=copy, progress=False)
        assert resumed.epoch == 3
        assert state(resumed) == state(whole)
    again = trainer()
    again.fit(toy.train, epochs=9, callbacks=callbacks("whole"), resume=tmp_path / "whole", progress=False)
    assert again.epoch == 3


# -- what does not fit -----------------------------------------------------------------------------------------------


def saved(toy: Any, trainer: TrainerMaker, folder: Path, **changes: Any) -> Path:
    t = trainer(**changes)
    t.fit(toy.train, epochs=1, batch_size=40, callbacks=[Checkpoints(folder, every_steps=2)], progress=False)
    return folder


def refused(t: pm.Trainer, path: Path, match: str) -> None:
    """Loading fails with a message and changes nothing."""
    before = state(t)
    with pytest.raises(CheckpointError, match=match):
        t.load_checkpoint(path)
    assert (state(t), t.step, t.epoch, len(t.history)) == (before, 0, 0, 0)


def test_another_width(toy: Any, trainer: TrainerMaker, tmp_path: Path) -> None:
    path = saved(toy, trainer, tmp_path, model=toy.model(width=9))
    refused(trainer(), path, r"'first.weight' \(parameters\) is float32\[9, 5\] in it and float32\[8, 5\] in the model")


def test_another_architecture(toy: Any, trainer: TrainerMaker, tmp_path: Path) -> None:
    path = saved(toy, trainer, tmp_path)
    model = pm.Model(pm.nn.Sequential(pm.nn.Linear(5, 3)), {"x": pm.TensorSpec(("batch", 5))}, ["logits"])
    refused(trainer(model=model), path, "'0.weight' is not in it; parameters: 6 in the checkpoint, 2 in the model")


def test_the_same_names_with_other_operators(toy: Any, trainer: TrainerMaker, tmp_path: Path) -> None:
    class Plain(pm.nn.Module):
        def __init__(self, activation: Any) -> None:
            super().__init__()
            self.layer = pm.nn.Linear(5, 3)
            self.activation = activation

        def forward(self, x: Any) -> Any:
            return self.activation(self.layer(x))

    def model(activation: Any) -> pm.Model:
        return pm.Model(Plain(activation), {"x": pm.TensorSpec(("batch", 5))}, ["logits"])

    path = saved(toy, trainer, tmp_path, model=model(pm.nn.functional.relu))
    refused(trainer(model=model(pm.nn.functional.sigmoid)), path, r"is of another model: .* its graph is [0-9a-f]{12}")


def test_another_optimizer(toy: Any, trainer: TrainerMaker, tmp_path: Path) -> None:
    path = saved(toy, trainer, tmp_path)
    refused(trainer(optimizer=pm.optim.SGD(0.1)), path, "written with optimizer 'adam', this trainer has 'sgd'")


def test_other_slots(toy: Any, trainer: TrainerMaker, tmp_path: Path) -> None:
    path = saved(toy, trainer, tmp_path, optimizer=pm.optim.SGD(0.1))
    other = trainer(optimizer=pm.optim.SGD(0.1, momentum=0.9))
    refused(other, path, "optimizer slots: 0 in the checkpoint, 6 in the model")


def test_another_seed(toy: Any, trainer: TrainerMaker, tmp_path: Path) -> None:
    path = saved(toy, trainer, tmp_path)
    refused(trainer(seed=4), path, "written with seed=3, this trainer has seed=4")


def test_a_damaged_one(toy: Any, trainer: TrainerMaker, tmp_path: Path) -> None:
    path = saved(toy, trainer, tmp_path)
    newest = checkpoint.complete(path)[-1]
    data = bytearray((newest / checkpoint.TENSORS).read_bytes())
    data[-1] ^= 128
    (newest / checkpoint.TENSORS).write_bytes(data)
    refused(trainer(), path, "damaged: .* Delete it to fall back to step-00000002")


def test_the_middle_of_an_epoch_of_other_batches(toy: Any, trainer: TrainerMaker, tmp_path: Path) -> None:
    path = checkpoint.complete(saved(toy, trainer, tmp_path))[0]
    assert json.loads((path / checkpoint.RECORD).read_text())["batch"] == 2
    with pytest.raises(CheckpointError, match="batch_size=40, this fit has batch_size=16"):
        trainer().fit(toy.train, epochs=1, batch_size=16, resume=path, progress=False)
    with pytest.raises(CheckpointError, match="samples=90, this fit has samples=30"):
        trainer().fit(toy.held, epochs=1, batch_size=40, resume=path, progress=False)


def test_a_folder_with_a_later_state_is_not_written_into(toy: Any, trainer: TrainerMaker, tmp_path: Path) -> None:
    saved(toy, trainer, tmp_path)
    names = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(CheckpointError, match="a later state than step 0 where this fit starts: resume from it"):
        trainer().fit(toy.train, epochs=1, callbacks=[Checkpoints(tmp_path)], progress=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == names


def test_values_alone_start_another_run(toy: Any, trainer: TrainerMaker, tmp_path: Path) -> None:
    found = checkpoint.load(saved(toy, trainer, tmp_path))
    model = toy.model()
    model.values = {**found.parameters, **found.buffers}
    t = trainer(model=model, optimizer=pm.optim.SGD(0.1))
    np.testing.assert_array_equal(t.program.parameters["head.weight"], found.parameters["head.weight"])
