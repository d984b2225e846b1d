"""The plug-in interface: what a framework must offer to be a backend.

A backend is an object registered under the entry point group `polymodel.backends`. It compiles a Graph to a Program
(program.py), whose functions take and return NumPy arrays by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import final

from polymodel.errors import ConfigError, DeviceUnavailable, Unsupported
from polymodel.feeds import check_inputs, is_float
from polymodel.graph import Graph
from polymodel.optim.gather import gathering
from polymodel.options import Capabilities, CompileOptions, Training
from polymodel.passes.carriers import carrier
from polymodel.program import Gradients, Predict, Program, Step, Update
from polymodel.rules import RuleTable
from polymodel.stored import Arrays
from polymodel.training.accumulation import Accumulation
from polymodel.training.cutting import batch_dim
from polymodel.training.devices import check_device, check_devices
from polymodel.training.replicas import Replicas

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
    "Update",
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

    @final
    def rounds_products(self, dtype: str) -> str:
        """What passes/widen.py does, for `instead_of`."""
        return f"it computes products and convolutions in float32 and rounds what they return to {dtype}"

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
        devices: Sequence[str] | None = None,
        training: Training | None = None,
        options: CompileOptions | None = None,
    ) -> Program:
        """Lower a graph.

        Args:
            graph: what `predict` and `gradients` compute; may contain loss and metrics as further outputs.
            device: "cpu", "cuda", "cuda:N" or "auto" (cuda:0 where there is one).
            devices: several of them, in the place of `device`: train_step cuts batches, predict_each gives them out in turn. The
                first holds the state.
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
        names = (device,) if devices is None else check_devices(devices)
        places = [self._device(d) for d in names]
        own = training
        if training is not None and len(places) > 1:
            training = replace(training, accumulate=training.accumulate or Accumulation(1))
            own = gathering(training)
        if training is not None and training.accumulate is not None:
            batch_dim(training.graph)  # refuses a batch that cannot be cut
        program = self._compile(graph, places[0], training, options)
        if len(places) > 1:
            program.replicas = Replicas([program, *(self._compile(graph, p, own, options) for p in places[1:])], names)
        return program

    def _device(self, asked: str) -> str:
        there = self.devices()
        if check_device(asked) == "auto":
            return there[1] if len(there) > 1 else there[0]
        name = {"cuda": "cuda:0"}.get(asked, "cpu" if asked.startswith("cpu:") else asked)
        if name not in there:
            note = self.capabilities().cuda_note
            why = f" ({note})" if note else ""
            raise DeviceUnavailable(f"no device {asked!r}: backend {self.name!r} has {', '.join(there)} here{why}")
        return name
