"""What one may ask of a backend, and what it says it can do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from polymodel.graph import Graph
from polymodel.optim.base import Optimizer
from polymodel.optim.clip import Clip
from polymodel.training.accumulation import Accumulation
from polymodel.training.precision import LossScaling


@final
@dataclass(frozen=True)
class CompileOptions:
    """How to compile, independent of the model.

    Attributes:
        compile: "auto" (the backend's written-down rule picks), "native" (the framework's plain graph mode),
            "inductor" (torch), "xla" (TensorFlow).
        threads: threads for one operator; None leaves the number of cores.
        deterministic: only kernels that give the same bits in every run.
        randomness: "reproducible" draws dropout masks from the generator in random.py, "native" in the framework.
        seed: seed of the random streams.
        max_iterations: iterations that all loops of one call may run on the host together (loops that data ends, or that
            are too long to be compiled); a file may ask for any number.
        tf32: whether the factors of float32 products and convolutions may be rounded to TensorFloat-32 (11 significant
            bits) on CUDA devices of sm_80 and newer. Nothing changes elsewhere.
    """

    compile: str = "auto"
    threads: int | None = None
    deterministic: bool = False
    randomness: str = "reproducible"
    seed: int = 0
    max_iterations: int = 100_000
    tf32: bool = False


@final
@dataclass(frozen=True)
class Training:
    """What turns a model into a training step.

    Attributes:
        graph: graph in training mode with loss and metrics; same parameters and buffers as the inference graph.
        loss: name of its scalar loss output.
        metrics: names of further scalar outputs that a step returns.
        optimizer: update rule.
        clip: gradient clipping.
        accumulate: how a batch is cut into parts whose gradients are added, on this device or on several; None for a step over the
            batch at once.
        scaling: how the loss is scaled before it is differentiated; None for as it is. A step then takes the scalar precision.SCALE
            and returns precision.FINITE besides; when that is 0 it has changed nothing.
    """

    graph: Graph
    loss: str
    optimizer: Optimizer
    metrics: tuple[str, ...] = ()
    clip: Clip | None = None
    accumulate: Accumulation | None = None
    scaling: LossScaling | None = None

    @property
    def returns(self) -> tuple[str, ...]:
        """Names of what a step returns."""
        return (self.loss, *self.metrics)


@final
@dataclass(frozen=True)
class Capabilities:
    """What a backend can hold and do; the rest is refused by name.

    Attributes:
        dtypes: element types that its programs hold; others are carried in wider ones of them (passes/carriers.py).
        compile: values of CompileOptions.compile that it knows, besides "auto".
        dynamic_sizes: whether a program may hold sizes that are known only once they are computed.
        cuda: whether it has code for CUDA devices.
        cuda_note: why a CUDA device may be missing here, for the message that says so.
        cuda_architectures: compute capabilities (times 10) of the oldest and the newest card that its build has kernels
            for; None where it has code for newer ones too.
        tf32: whether CompileOptions.tf32 can be turned on.
        notes: true limits of the framework, for people.
        loss_scaling: whether steps know Training.scaling.
        partial: whether operators, or calls of operators, may be missing. What such a backend refuses with Unsupported is
            "unclaimed" for the conformance suite; from any other backend it is an error.
    """

    dtypes: frozenset[str]
    compile: frozenset[str] = frozenset({"native"})
    cuda: bool = True
    cuda_note: str = ""
    cuda_architectures: tuple[int, int] | None = None
    tf32: bool = False
    dynamic_sizes: bool = True
    notes: tuple[str, ...] = field(default=())
    loss_scaling: bool = False
    partial: bool = False
