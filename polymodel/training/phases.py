"""The compiled phases of a training step: several programs on one state."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, SupportsFloat, final

import numpy as np

from polymodel.program import Program
from polymodel.stored import Arrays
from polymodel.training import nonfinite
from polymodel.training.batches import Feeds
from polymodel.training.goal import LOSS
from polymodel.training.phase import Phase
from polymodel.training.precision import Scaler


@final
class Total:
    """The sum of what steps returned, read when somebody wants it."""

    __slots__ = ("_terms",)

    def __init__(self, terms: Sequence[SupportsFloat]) -> None:
        self._terms = terms

    def __float__(self) -> float:
        return sum(float(t) for t in self._terms)

    def __repr__(self) -> str:
        return f"Total({float(self)})"


@final
class Phases:
    """Programs by the name of their phase; parameters and buffers are in the memory of the first.

    Slots are named "PHASE.SLOT/PARAMETER".

    Args:
        phases: in the order in which a step does them.
        programs: one for each, over the same parameters and buffers.
    """

    def __init__(self, phases: Mapping[str, Phase], programs: Mapping[str, Program]) -> None:
        self.phases, self.programs = dict(phases), dict(programs)
        self.first, *others = self.programs.values()
        if others:
            self.first.share(others)
        self.backend, self.device, self.options = self.first.backend, self.first.device, self.first.options

    def train_step(self, feeds: Feeds, rates: Mapping[str, float], step: int) -> dict[str, SupportsFloat]:
        """Do the phases of a step, one after the other; each sees the parameters that those before it made.

        Args:
            feeds: the batch.
            rates: learning rate of each phase that is due.
            step: number of the step, from 1.

        Returns:
            "PHASE_loss" and what else the phases return, "PHASE_NAME"; "loss" is the sum of the losses of phases that every
            step does.
        """
        found: dict[str, SupportsFloat] = {}
        always = []
        for name, lr in rates.items():
            result = self.programs[name].train_step(feeds, lr=lr, step=self.phases[name].count(step))
            found |= {f"{name}_{k}": v for k, v in result.items()}
            if self.phases[name].every == 1:
                always.append(result[LOSS])
        return {LOSS: always[0] if len(always) == 1 else Total(always), **found}

    def evaluate(self, feeds: Feeds) -> dict[str, float]:
        """What the phases' losses are without a step: no dropout, BatchNorm with its running statistics."""
        found: dict[str, float] = {}
        for name, program in self.programs.items():
            training = program.training
            assert training is not None
            found |= {f"{name}_{k}": float(v) for k, v in program.predict(feeds, training.returns).items()}
        total = sum(found[f"{n}_{LOSS}"] for n, p in self.phases.items() if p.every == 1)
        return {LOSS: total, **found}

    def explain(self, feeds: Feeds, step: int) -> str:
        """Where the first value that is not finite came from, phase by phase."""
        for name, program in self.programs.items():
            training = program.training
            assert training is not None
            why = nonfinite.explain(program, feeds, self.phases[name].count(step))
            if "finite loss" not in why:
                return f"phase {name!r}: {why}"
        return "a replay of the batch gave finite losses, so the node is unknown"

    @property
    def graph_hash(self) -> str:
        """SHA-256 over the structure of all phases."""
        digest = hashlib.sha256()
        for name, program in self.programs.items():
            assert program.training is not None
            digest.update(f"{name}\0{program.training.graph.hash}\0".encode())
        return digest.hexdigest()

    # -- state ------------------------------------------------------------------------------------------------------

    @property
    def parameters(self) -> Arrays:
        """Copies of all parameters, "MODEL.NAME"; assigning a dict writes (some of) them back."""
        return self.first.parameters

    @parameters.setter
    def parameters(self, values: Mapping[str, np.ndarray]) -> None:
        self.first.parameters = dict(values)

    @property
    def buffers(self) -> Arrays:
        """Copies of all buffers, "MODEL.NAME"; assigning a dict writes (some of) them back."""
        return self.first.buffers

    @buffers.setter
    def buffers(self, values: Mapping[str, np.ndarray]) -> None:
        self.first.buffers = dict(values)

    @property
    def slots(self) -> Arrays:
        """Copies of the slots of all phases; assigning a dict writes (some of) them back."""
        return {f"{n}.{k}": a for n, p in self.programs.items() for k, a in p.slots.items()}

    @slots.setter
    def slots(self, values: Mapping[str, np.ndarray]) -> None:
        for name, program in self.programs.items():
            program.slots = {k.removeprefix(f"{name}."): a for k, a in values.items() if k.startswith(f"{name}.")}

    def slot_values(self) -> Arrays:
        """The slots at the start."""
        return {f"{n}.{k}": a for n, p in self.programs.items() for k, a in p.slot_values().items()}

    @property
    def scalers(self) -> list[Scaler]:
        """The loss scales of the phases that have one, in their order."""
        return [s for p in self.programs.values() for s in p.scalers]

    def read(self, value: Any) -> np.ndarray:
        """What a step returned under a name, as a float64 array; waits for the device."""
        return self.first.read(value)

    def synchronize(self) -> None:
        """Wait until everything that was asked for is done."""
        self.first.synchronize()
