"""The plug-in interface: what a framework must offer to be a backend.

A backend is an object registered under the entry point group `polymodel.backends`. It compiles a Graph to a Program
(program.py), whose functions take and return NumPy arrays by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

from polymodel.carriers import carrier
from polymodel.errors import ConfigError, DeviceUnavailable, Unsupported
from polymodel.feeds import check_inputs, is_float
from polymodel.graph import Graph
from polymodel.options import Capabilities, CompileOptions, Training
from polymodel.program import Gradients, Predict, Program, Step
from polymodel.rules import RuleTable
from polymodel.stored import Arrays

__all__ = [
    "Arrays",
    "Backend",
    "Capabilities",
    "CompileOptions",
    "Gradients",
    "Predict",
    "Program",
    "Step",
    "Training",
    "check_inputs",
    "is_float",
]


class Backend(ABC):
    """One framework. Abstract: each backend package has one final subclass.

    Attributes:
        name: the word that a user writes.
        table: its rules.
    """

    name: str
    table: RuleTable

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Versions of the framework and of what its numbers depend on."""

    @abstractmethod
    def devices(self) -> tuple[str, ...]:
        """Devices that programs can run on: "cpu", "cuda:0", ..."""

    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What it can hold and do."""

    def instead_of(self, dtype: str, device: str) -> str:
        """What it does where products of a half type have no kernel that is faster than float32; "" where they have one.

        Args:
            dtype: "float16" or "bfloat16".
            device: one of `devices()`.
        """
        carrier_type = carrier(dtype, self.capabilities().dtypes)
        return "" if carrier_type == dtype else f"it holds {dtype} in {carrier_type} and rounds what every operator returns"

    @abstractmethod
    def threads(self) -> int:
        """Threads that one operator uses now."""

    @abstractmethod
    def _compile(self, graph: Graph, device: str, training: Training | None, options: CompileOptions) -> Program:
        """Make the program, for one of `devices()` and options that it knows."""

    @final
    def compile(
        self,
        graph: Graph,
        device: str = "auto",
        *,
        training: Training | None = None,
        options: CompileOptions | None = None,
    ) -> Program:
        """Lower a graph.

        Args:
            graph: what `predict` and `gradients` compute; may contain loss and metrics as further outputs.
            device: "cpu", "cuda", "cuda:N" or "auto" (cuda:0 where there is one).
            training: adds `train_step`.
            options: see CompileOptions.

        Raises:
            ConfigError: a compiler that the backend does not know, TF32 where it cannot be turned on.
            Unsupported: an operator or dtype that the backend lacks.
            DeviceUnavailable: no such device here.
        """
        options = options or CompileOptions()
        known = ("auto", *sorted(self.capabilities().compile))
        if options.compile not in known:
            raise ConfigError(f"compile={options.compile!r}: backend {self.name!r} knows {', '.join(known)}")
        if options.tf32 and not self.capabilities().tf32:
            raise ConfigError(f"tf32=True: backend {self.name!r} cannot be told to use TF32; leave it False")
        if training is not None and training.scaling is not None and not self.capabilities().loss_scaling:
            raise Unsupported(f"backend {self.name!r} cannot scale losses: use precision='bfloat16' or 'float32'")
        return self._compile(graph, self._device(device), training, options)

    def _device(self, asked: str) -> str:
        there = self.devices()
        if asked == "auto":
            return there[1] if len(there) > 1 else there[0]
        name = "cuda:0" if asked == "cuda" else asked
        if name not in there:
            note = self.capabilities().cuda_note
            why = f" ({note})" if note else ""
            raise DeviceUnavailable(f"no device {asked!r}: backend {self.name!r} has {', '.join(there)} here{why}")
        return name
