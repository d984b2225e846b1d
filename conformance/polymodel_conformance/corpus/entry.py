"""A computation to check, whatever level checks it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from polymodel.graph import Graph


@final
@dataclass(frozen=True)
class Entry:
    """A graph with inputs for it.

    Attributes:
        name: "GROUP/NAME".
        graph: builds it; called when the case is collected.
        draw: inputs for a seed.
        official: outputs that the standard's own test expects.
        smoke: part of the shortest profile.
        quick: part of the quick profile.
    """

    name: str
    graph: Graph
    draw: Callable[[int], Mapping[str, np.ndarray]]
    official: Mapping[str, np.ndarray] | None = None
    smoke: bool = False
    quick: bool = True

    def within(self, profile: str) -> bool:
        """Whether a profile has it."""
        return {"smoke": self.smoke, "quick": self.quick or self.smoke}.get(profile, True)

    @property
    def differentiable(self) -> tuple[str, ...]:
        """Names of float parameters and inputs to differentiate by; empty when no output is a float."""
        specs = self.graph.specs
        floats = ("float32", "float64", "float16", "bfloat16")
        if not any(specs[o].dtype in floats for o in self.graph.outputs):
            return ()
        return (*self.graph.trainable, *(n for n in self.graph.inputs if specs[n].dtype in floats))
