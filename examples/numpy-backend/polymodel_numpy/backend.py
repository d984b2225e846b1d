"""NumPy as a backend."""

from typing import final

import numpy as np

from polymodel.backend import Backend, Capabilities, CompileOptions, Program, Training
from polymodel.graph import Graph
from polymodel_numpy.program import NumpyProgram
from polymodel_numpy.rules import TABLE

INTEGERS = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}


@final
class NumpyBackend(Backend):
    """NumPy on the CPU, one operator after the other."""

    name = "numpy"
    table = TABLE

    def versions(self) -> dict[str, str]:
        return {"numpy": np.__version__}

    def devices(self) -> tuple[str, ...]:
        return ("cpu",)

    def capabilities(self) -> Capabilities:
        return Capabilities(
            dtypes=frozenset({"float32", "float64", "bool", *INTEGERS}),
            cuda=False,
            partial=True,
            notes=("an example: few operators, nothing compiled",),
        )

    def threads(self) -> int:
        return 1

    def _compile(self, graph: Graph, device: str, training: Training | None, options: CompileOptions) -> Program:
        return NumpyProgram(self, graph, device, training, options)
