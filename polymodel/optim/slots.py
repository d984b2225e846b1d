"""The slots of all parameters of a graph, named "SLOT/PARAMETER"."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from polymodel.graph import Graph
from polymodel.optim.base import Optimizer
from polymodel.optim.gather import SUM


def at_start(rule: Optimizer, graph: Graph) -> dict[str, np.ndarray]:
    """Those of a rule before the first step: slot after slot, each in the order of the parameters."""
    starts = {n: rule.start(n, graph.parameters[n]) for n in graph.trainable}
    return {f"{k}/{n}": found[k] for k in rule.slots for n, found in starts.items() if k in found}


def sums(graph: Graph) -> dict[str, np.ndarray]:
    """The sums of gradients, which are zero between steps."""
    return {f"{SUM}/{n}": np.zeros_like(graph.parameters[n]) for n in graph.trainable}


def is_sum(name: str) -> bool:
    """Whether a slot is such a sum."""
    return name.startswith(f"{SUM}/")


def of_checkpoints(found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Without those that are zero between steps."""
    return {n: a for n, a in found.items() if not is_sum(n)}
