"""What a fit trains: a Trainer, or a TrainStep of several models."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, SupportsFloat

import numpy as np

from polymodel.backend import Backend
from polymodel.graph import Graph
from polymodel.metrics import StreamingMetric
from polymodel.training import run_state
from polymodel.training.batches import Batches, Feeds
from polymodel.training.checkpoint import Checkpoint
from polymodel.training.history import History

Arrays = dict[str, np.ndarray]


class Compiled(Protocol):
    """What is asked of a compiled step: a Program, or several on one state."""

    backend: Backend
    device: str
    parameters: Any
    """By name; what is assigned is written."""
    buffers: Any
    slots: Any

    @property
    def scalers(self) -> Any:
        """Loss scales."""

    def slot_values(self) -> Arrays:
        """The slots at the start."""

    def read(self, value: Any) -> np.ndarray:
        """What a step returned, as a float64 array."""

    def synchronize(self) -> None:
        """Wait for the device."""


class Fitted(ABC):
    """Steps, their state and where they stand.

    Attributes:
        program: what is compiled.
        history: one row for each epoch.
        step: steps done.
        epoch: epochs done.
        lr_factor: what learning rates are multiplied with besides schedules; callbacks set it.
        scalar_names: columns of a step besides "loss".
        streaming: metrics that are put together by their own rule, by name.
        losses: names of what must stay finite.
        graph_hash: of what is trained.
        seed: of all random streams.
    """

    program: Any
    history: History
    step: int
    epoch: int
    lr_factor: float
    scalar_names: tuple[str, ...]
    streaming: Mapping[str, StreamingMetric]
    losses: tuple[str, ...]
    graph_hash: str
    seed: int

    @abstractmethod
    def take_step(self, feeds: Feeds, step: int, batches: int | None) -> tuple[float, Mapping[str, SupportsFloat]]:
        """Hand a step to the device: the learning rate, and what the step returns.

        Args:
            feeds: the batch.
            step: number of the step, from 1.
            batches: of an epoch; None while nobody knows.
        """

    @abstractmethod
    def explain(self, feeds: Feeds, step: int) -> str:
        """Where the first value that is not finite came from."""

    @abstractmethod
    def evaluate_batches(self, batches: Batches) -> dict[str, Any]:
        """Means over samples, by name."""

    @abstractmethod
    def take_weights_along(self, *batches: Batches | None) -> None:
        """Give batches that bring no weights ones, where steps take weights."""

    @property
    @abstractmethod
    def stored_graph(self) -> Graph:
        """A graph with all parameters and buffers that checkpoints hold."""

    @property
    @abstractmethod
    def rule_name(self) -> str:
        """Name of the update rule, for checkpoints."""

    @property
    @abstractmethod
    def schedules(self) -> tuple[str, ...]:
        """Names of the schedules that change a learning rate."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What a checkpoint says of how it was trained; JSON can hold it."""

    def save_checkpoint(self, path: str | os.PathLike[str], *, fit: Mapping[str, Any] | None = None) -> Path:
        """Write parameters, buffers, optimizer state and position as a folder that any backend can load.

        Args:
            path: folder to write; it must not exist.
            fit: state of the fit that is under way; polymodel.callbacks.Checkpoints passes it.

        Raises:
            CheckpointError: the folder exists or cannot be written.
            NonFiniteLoss: a parameter is not finite, so that the state is not worth keeping.
        """
        return run_state.save(self, path, fit)

    def load_checkpoint(self, path: str | os.PathLike[str]) -> Checkpoint:
        """Take over the state of a checkpoint, or of the newest in a folder; nothing is changed when that fails.

        Raises:
            CheckpointError: it is damaged, or of another model, optimizer or seed; the message names both sides.
        """
        state = run_state.load(self, path)
        self.write_back()
        return state

    @property
    def averages(self) -> dict[str, np.ndarray]:
        """The moving averages of the trained parameters, by name.

        Raises:
            ConfigError: the optimizer keeps none.
        """
        return run_state.averages(self)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Have the averages in the place of the parameters for a while: to evaluate, predict or export with them."""
        before = self.program.parameters
        self.program.parameters = self.averages
        try:
            yield
        finally:
            self.program.parameters = before

    @abstractmethod
    def write_back(self) -> None:
        """Give the models the values on the device."""
