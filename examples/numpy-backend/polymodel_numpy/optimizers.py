"""Optimizer steps: the update graph of the rule, run like a model."""

from collections.abc import Callable, Mapping

import numpy as np

from polymodel.optim.update_graph import update_graph
from polymodel.options import Training
from polymodel.passes.specialize import specialize
from polymodel.spec import TensorSpec
from polymodel_numpy.lower import Run

Arrays = Mapping[str, np.ndarray]


def make_update(training: Training, parameters: Arrays, slots: Arrays) -> Callable[[Arrays, Mapping[str, float]], None]:
    """A function of gradients and scalars that changes parameters and slots in place."""
    graph = update_graph(
        training.optimizer, {n: TensorSpec(p.shape, p.dtype.name) for n, p in parameters.items()}, training.clip
    )
    plan = specialize(graph, graph.outputs)
    state = {**{f"p/{n}": p for n, p in parameters.items()}, **slots}
    dtype = next(iter(parameters.values())).dtype

    def update(gradients: Arrays, scalars: Mapping[str, float]) -> None:
        feeds = {**state, **{f"g/{n}": g for n, g in gradients.items()}}
        feeds |= {n: np.asarray(v, dtype) for n, v in scalars.items()}
        for name, new in Run(plan, feeds).outputs(plan.outputs).items():
            state[name.removeprefix("new/")][...] = new

    return update
