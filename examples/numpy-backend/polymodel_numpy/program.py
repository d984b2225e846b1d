"""A graph that runs on NumPy, with its state in arrays that are changed in place."""

import math
from collections.abc import Mapping, Sequence
from typing import SupportsFloat, final

import numpy as np

from polymodel.backend import Arrays, Backend, CompileOptions, Gradients, Predict, Program, Step, Training
from polymodel.graph import Graph
from polymodel.plan import Plan
from polymodel_numpy.lower import Run
from polymodel_numpy.optimizers import make_update


@final
class NumpyProgram(Program):
    """See polymodel.backend.Program."""

    def __init__(
        self, backend: Backend, graph: Graph, device: str, training: Training | None, options: CompileOptions
    ) -> None:
        super().__init__(backend, graph, device, training, options)
        roles = {"parameters": self.held(graph.parameters), "buffers": self.held(graph.buffers), "slots": self.held_slots()}
        self._state = {role: {n: np.array(v) for n, v in values.items()} for role, values in roles.items()}

    @property
    def native(self) -> Arrays:
        """NumPy has no modules: the live arrays of parameters and buffers by name."""
        return {**self._state["parameters"], **self._state["buffers"]}

    def _compile_predict(self, plan: Plan) -> Predict:
        return lambda feeds: Run(plan, {**self.native, **feeds}).outputs(plan.outputs)

    def _compile_gradients(self, plan: Plan, wrt: Sequence[str]) -> Gradients:

        def gradients(feeds: Mapping[str, np.ndarray], cotangents: Mapping[str, np.ndarray]) -> Arrays:
            found = Run(plan, {**self.native, **feeds}).vjp({n: np.asarray(cotangents[n]) for n in plan.outputs})
            return {n: np.array(found[n]) for n in wrt if n in found}

        return gradients

    def _compile_step(self, plan: Plan, training: Training) -> Step:
        trained = {n: self._state["parameters"][n] for n in training.graph.trainable}
        update = make_update(training, trained, self._state["slots"])

        def step(feeds: Mapping[str, np.ndarray], scalars: Mapping[str, float]) -> Mapping[str, SupportsFloat]:
            run = Run(plan, {**self.native, **feeds})
            loss = run.values[training.loss]
            if math.isfinite(loss):
                found = run.vjp({training.loss: np.ones_like(loss)})
                new = run.outputs(tuple(training.graph.updates.values()))
                update({n: found.get(n, np.zeros_like(p)) for n, p in trained.items()}, scalars)
                for buffer, value in training.graph.updates.items():
                    self._state["buffers"][buffer][...] = new[value]
            return run.outputs(training.returns)

        return step

    def _read(self, role: str) -> Arrays:
        return {n: np.array(a) for n, a in self._state[role].items()}

    def _write(self, role: str, values: Mapping[str, np.ndarray]) -> None:
        for name, value in values.items():
            self._state[role][name][...] = value
