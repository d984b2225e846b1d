"""Is a checkpoint of this model and of this run? If not, the message names both sides."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from polymodel.errors import CheckpointError
from polymodel.graph import Graph
from polymodel.training.checkpoint import Checkpoint


def match_model(folder: Path, state: Checkpoint, graph: Graph, graph_hash: str | None = None) -> None:
    """Refuse a checkpoint of another model.

    Args:
        folder: where it was read, for messages.
        state: the checkpoint.
        graph: inference graph of the model.
        graph_hash: what stands for the graph in checkpoints; its own hash when None.

    Raises:
        CheckpointError: a parameter or buffer differs in name, shape or dtype, or the graphs differ.
    """
    _match_arrays(folder, "parameters", state.parameters, graph.parameters)
    _match_arrays(folder, "buffers", state.buffers, graph.buffers)
    theirs, ours = str(state.record.get("graph_hash")), graph_hash or graph.hash
    if theirs != ours:
        raise CheckpointError(
            f"checkpoint {folder} is of another model: parameters have the same names and shapes, but its graph is "
            f"{theirs[:12]}..., this model's {ours[:12]}... (other operators or settings): build the model that it was "
            "trained with"
        )


def match_run(
    folder: Path, state: Checkpoint, optimizer: str, slots: Mapping[str, np.ndarray], seed: int
) -> None:
    """Refuse a checkpoint that a run cannot go on from.

    Args:
        folder: where it was read, for messages.
        state: the checkpoint.
        optimizer: name of the run's update rule.
        slots: the run's optimizer state.
        seed: seed of the run.

    Raises:
        CheckpointError: it was written with another optimizer, other slots or another seed.
    """
    theirs = state.record.get("optimizer", {}).get("name")
    if theirs != optimizer:
        raise CheckpointError(
            f"checkpoint {folder} was written with optimizer {theirs!r}, this trainer has {optimizer!r}: use the same; "
            "for a fresh start from its weights assign model.values"
        )
    _match_arrays(folder, "optimizer slots", state.slots, slots)
    if state.record.get("seed") != seed:
        raise CheckpointError(
            f"checkpoint {folder} was written with seed={state.record.get('seed')}, this trainer has seed={seed}: a "
            "run is continued with its own seed"
        )


def _match_arrays(folder: Path, what: str, found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> None:
    lacking = [n for n in wanted if n not in found]
    extra = [n for n in found if n not in wanted]
    if lacking or extra:
        difference = f"the model's {lacking[0]!r} is not in it" if lacking else f"the model has no {extra[0]!r}"
        raise CheckpointError(
            f"checkpoint {folder} is of another model: {difference}; {what}: {len(found)} in the checkpoint, "
            f"{len(wanted)} in the model. Build the model that it was trained with"
        )
    for name, want in wanted.items():
        got = found[name]
        if got.shape != want.shape or got.dtype != want.dtype:
            raise CheckpointError(
                f"checkpoint {folder} is of another model: {name!r} ({what}) is {got.dtype}{list(got.shape)} in it and "
                f"{want.dtype}{list(want.shape)} in the model. Build the model that it was trained with"
            )
