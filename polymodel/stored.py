"""What a program keeps on its device: parameters, buffers and optimizer slots, read and written by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self, TypeAlias, final

import numpy as np

from polymodel.carriers import decode, encode_all
from polymodel.errors import GraphError, Unsupported
from polymodel.graph import Graph
from polymodel.optim import slots as slot_table
from polymodel.options import Training
from polymodel.spec import TensorSpec, array_dtype, spec_of_array

if TYPE_CHECKING:
    from polymodel.backend import Backend

Arrays: TypeAlias = dict[str, np.ndarray]


class Stored(ABC):
    """Arrays of three roles, "parameters", "buffers" and "slots", behind the two hooks `_read` and `_write`."""

    backend: Backend
    graph: Graph
    training: Training | None

    @property
    def parameters(self) -> Arrays:
        """Copies of all parameters; assigning a dict writes (some of) them back."""
        return self._declared(self._read("parameters"), self.graph.parameters)

    @parameters.setter
    def parameters(self, values: Mapping[str, np.ndarray]) -> None:
        self._assign("parameters", values, self.graph.parameters)

    @property
    def buffers(self) -> Arrays:
        """Copies of all buffers; assigning a dict writes (some of) them back."""
        return self._declared(self._read("buffers"), self.graph.buffers)

    @buffers.setter
    def buffers(self, values: Mapping[str, np.ndarray]) -> None:
        self._assign("buffers", values, self.graph.buffers)

    @property
    def slots(self) -> Arrays:
        """Copies of the optimizer's slots, named "SLOT/PARAMETER"; assigning a dict writes (some of) them back."""
        return slot_table.of_checkpoints(self._read("slots"))

    @slots.setter
    def slots(self, values: Mapping[str, np.ndarray]) -> None:
        self._assign("slots", values, self.slot_values())

    def share(self, others: Sequence[Self]) -> None:
        """Hold the parameters and buffers of other programs in this one's memory from now on; slots stay their own.

        Args:
            others: of the same backend and device, with the same names; none of them, nor this one, has run yet.

        Raises:
            Unsupported: the backend cannot do that.
        """
        raise Unsupported(f"backend {self.backend.name!r} cannot hold one state for several programs: it has no `share`")

    # -- what a backend gives ---------------------------------------------------------------------------------------

    @abstractmethod
    def _read(self, role: str) -> Arrays:
        """Copies of "parameters", "buffers" or "slots"."""

    @abstractmethod
    def _write(self, role: str, values: Mapping[str, np.ndarray]) -> None:
        """Overwrite some of them; names, shapes and dtypes are checked already."""

    # -- shared -----------------------------------------------------------------------------------------------------

    @final
    def slot_values(self) -> Arrays:
        """The slots at the start, named "SLOT/PARAMETER"."""
        return {} if self.training is None else slot_table.at_start(self.training.optimizer, self.training.graph)

    @final
    def held_slots(self) -> Arrays:
        """The slots at the start, those included that are zero between steps: what a backend has to hold."""
        return {} if self.training is None else slot_table.at_start(self.training.held_rule, self.training.graph)

    @final
    def reset_slots(self, values: Mapping[str, np.ndarray]) -> None:
        """Overwrite slots, those included that are zero between steps."""
        self._write("slots", values)

    def _assign(self, role: str, values: Mapping[str, np.ndarray], current: Mapping[str, np.ndarray]) -> None:
        for name, value in values.items():
            if name not in current:
                raise GraphError(f"{role} has no {name!r}; there are {', '.join(list(current)[:12]) or 'none'}")
            old, new = current[name], np.asarray(value)
            if old.shape != new.shape or old.dtype != new.dtype:
                raise GraphError(
                    f"{role}[{name!r}] is {old.dtype}{list(old.shape)}, received {new.dtype}{list(new.shape)}"
                )
        self._write(role, self.held({n: np.asarray(v, order="C") for n, v in values.items()}))

    @final
    def held(self, values: Mapping[str, np.ndarray]) -> Arrays:
        """Arrays in the element types in which the framework holds them; the same arrays where it has their types."""
        return encode_all(values, self.backend.capabilities().dtypes)

    @staticmethod
    def _declared(values: Arrays, declared: Mapping[str, np.ndarray]) -> Arrays:
        return {n: decode(a, array_dtype(declared[n])) for n, a in values.items()}

    @final
    def state_specs(self) -> dict[str, TensorSpec]:
        """Spec of every parameter and buffer."""
        state = {**self.graph.parameters, **self.graph.buffers}
        return {n: spec_of_array(a) for n, a in state.items()}

    @final
    def state_array(self, name: str) -> np.ndarray:
        """The current value of a parameter or buffer."""
        return (self.parameters if name in self.graph.parameters else self.buffers)[name]
