"""The state of a trainer as a checkpoint, and back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polymodel import __version__
from polymodel.errors import ConfigError, NonFiniteLoss
from polymodel.optim.average import is_average
from polymodel.training import checkpoint, nonfinite
from polymodel.training.checkpoint import Checkpoint
from polymodel.training.history import History
from polymodel.training.matching import match_model, match_run

if TYPE_CHECKING:
    from polymodel.training.fitted import Fitted


def save(trainer: Fitted, path: str | os.PathLike[str], fit: Mapping[str, Any] | None) -> Path:
    """See Fitted.save_checkpoint."""
    program = trainer.program
    parameters = program.parameters
    if bad := nonfinite.bad_names(parameters):
        raise NonFiniteLoss(
            f"parameter {bad[0]!r} is not finite after step {trainer.step}: a gradient overflowed, lower lr or clip. "
            f"{path} was not written; earlier checkpoints are untouched"
        )
    record = {
        "polymodel": __version__,
        "backend": {"name": program.backend.name, **program.backend.versions()},
        "graph_hash": trainer.graph_hash,
        "step": trainer.step,
        "epoch": trainer.epoch,
        "batch": 0 if fit is None else fit["batch"],
        "seed": trainer.seed,
        "lr_factor": trainer.lr_factor,
        **trainer.facts(),
        "history": trainer.history.to_json(),
        "fit": fit,
    }
    return Checkpoint(parameters, program.buffers, program.slots, record).save(path)


def load(trainer: Fitted, path: str | os.PathLike[str]) -> Checkpoint:
    """See Fitted.load_checkpoint."""
    folder = checkpoint.resolve(path)
    state = checkpoint.load(folder)
    program, record = trainer.program, state.record
    match_model(folder, state, trainer.stored_graph, trainer.graph_hash)
    match_run(folder, state, trainer.rule_name, program.slot_values(), trainer.seed)
    program.parameters = dict(state.parameters)
    program.buffers = dict(state.buffers)
    program.slots = dict(state.slots)
    for scaler, found in zip(program.scalers, record.get("loss_scales", ()), strict=False):
        scaler.restore(found)  # another precision may go on from here
    trainer.step, trainer.epoch = int(record["step"]), int(record["epoch"])
    trainer.lr_factor = float(record.get("lr_factor", 1.0))
    trainer.history = History.from_json(record["history"])
    return state


def averages(trainer: Fitted) -> dict[str, np.ndarray]:
    """See Fitted.averages."""
    found = {n.partition("/")[2]: a for n, a in trainer.program.slots.items() if is_average(n)}
    if not found:
        raise ConfigError("there are no averages: give the optimizer ema=0.999, {'name': 'adam', 'ema': 0.999}")
    return found


def metadata(trainer: Fitted) -> dict[str, str]:
    """What an exported file says about its making."""
    backend = trainer.program.backend
    return {
        "backend": backend.name,
        **{f"version.{n}": v for n, v in backend.versions().items()},
        "device": trainer.program.device,
        "seed": str(trainer.seed),
        "step": str(trainer.step),
    }
