"""What a program keeps on its device: parameters, buffers and optimizer slots, read and written by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self, TypeAlias, final

import numpy as np

from polymodel.errors import GraphError, Unsupported
from polymodel.graph import Graph
from polymodel.optim import slots as slot_table
from polymodel.options import Training
from polymodel.passes.carriers import decode, encode_all
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

    def share(self, others: Sequence[Self], *, buffers: bool = True) -> None:
        """Hold the parameters of other programs in this one's memory from now on; slots stay their own.

        Args:
            others: of the same backend and device, with the same names; none of them, nor this one, has run yet.
            buffers: whether to hold their buffers there too.

        Raises:
            Unsupported: the backend cannot do that.
        """
        raise Unsupported(f"backend {self.backend.name!r} cannot hold one state for several programs: it has no `share`")

    # -- for several devices: programs of one graph; a backend does this without NumPy, these are for those that do not ----

    def hand(self, others: Sequence[Self]) -> None:
        """Overwrite the parameters and buffers of other programs with this one's."""
        for role in ("parameters", "buffers") if others else ():
            values = self._read(role)
            for other in others:
                other._write(role, values)

    def collect(self, others: Sequence[Self]) -> None:
        """Add what other programs have gathered to what this one has; theirs is zero then."""
        for other in others:
            more = other._read("slots")
            self._write("slots", {n: a + more[n] for n, a in self._read("slots").items() if slot_table.is_sum(n)})
            other.forget_gathered()

    def average(self, others: Sequence[Self], shares: Sequence[float]) -> None:
        """Make the buffers that a step changes the average of all programs' with such shares, this one's first."""
        assert self.training is not None
        found = [p._read("buffers") for p in (self, *others)]
        names = [n for n in self.training.graph.updates if found[0][n].dtype.kind == "f"]
        mean = {n: sum(b[n].astype(np.float64) * s for b, s in zip(found, shares, strict=True)) for n in names}
        self._write("buffers", {n: np.asarray(a, found[0][n].dtype) for n, a in mean.items()})

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
        training = self.training
        return self.slot_values() | ({} if training is None or training.accumulate is None else slot_table.sums(training.graph))

    @final
    def forget_gathered(self) -> None:
        """Make the sums of gradients zero."""
        assert self.training is not None
        self._write("slots", slot_table.sums(self.training.graph))

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
