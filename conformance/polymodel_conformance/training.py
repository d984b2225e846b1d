"""Training steps: what parameters, buffers and slots should be after them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import final

import numpy as np

from polymodel.optim.update_graph import update_graph
from polymodel.options import Training
from polymodel.passes.specialize import specialize
from polymodel.spec import TensorSpec
from polymodel_conformance import cache
from polymodel_conformance.cases import Call, Case, Outcome, all_feeds, expectations, judged, measured, plan_of
from polymodel_conformance.oracle import evaluate
from polymodel_conformance.oracle.tape import Kinks, Noise
from polymodel_conformance.tolerance.compare import Expected
from polymodel_conformance.tolerance.floor import UNIT, Compute, Measured
from polymodel_conformance.workers.client import Answer
from polymodel_conformance.workers.jobs import Job, graph_key, pack_rule

Arrays = Mapping[str, np.ndarray]


def initial_state(training: Training) -> dict[str, np.ndarray]:
    """Parameters, buffers and first slots of a graph, "parameters/NAME", "buffers/NAME", "slots/SLOT/NAME"."""
    graph, rule = training.graph, training.optimizer
    starts = {n: rule.start(n, graph.parameters[n]) for n in graph.trainable}
    return {
        **{f"parameters/{n}": v for n, v in graph.parameters.items()},
        **{f"buffers/{n}": v for n, v in graph.buffers.items()},
        **{f"slots/{k}/{n}": found[k] for k in rule.slots for n, found in starts.items() if k in found},
    }


Update = Callable[[Arrays, Noise | None, Kinks], dict[str, np.ndarray]]


def update_of(training: Training, state: Arrays, lr: float, step: int) -> Update:
    """The update rule on a state, as a function of the gradients "g/NAME"."""
    graph = training.graph
    specs = {n: TensorSpec(graph.parameters[n].shape, graph.parameters[n].dtype.name) for n in graph.trainable}
    rule = update_graph(training.optimizer, specs, training.clip)
    plan = specialize(rule, rule.outputs)
    fixed = {k: np.asarray(v, np.float64) for k, v in training.optimizer.scalars(lr, step).items()}
    for n in graph.trainable:
        fixed[f"p/{n}"] = state[f"parameters/{n}"]
        shapes = training.optimizer.slot_shapes(n, graph.parameters[n].shape)
        fixed.update({f"{s}/{n}": state[f"slots/{s}/{n}"] for s in shapes})

    def update(gradients: Arrays, noise: Noise | None, kinks: Kinks) -> dict[str, np.ndarray]:
        new = evaluate(plan, {**fixed, **gradients}, noise=noise, kinks=kinks, record=False)
        found = {}
        for name in rule.outputs:
            kind, _, rest = name.removeprefix("new/").partition("/")
            found[f"parameters/{rest}" if kind == "p" else f"slots/{kind}/{rest}"] = new.values[name].array
        return found

    return update


def one_step(training: Training, feeds: Arrays, state: Arrays, lr: float, step: int) -> Compute:
    """The computation of a step: the state after it, "scalar/NAME" for the loss, "g/NAME" for the gradients."""
    graph = training.graph
    values = {n.partition("/")[2]: a for n, a in state.items() if not n.startswith("slots/")}
    full = {**all_feeds(graph, feeds, step=step), **values}
    plan = plan_of(graph, (*training.returns, *graph.updates.values()), full)
    update = update_of(training, state, lr, step)

    def compute(noise: Noise | None, kinks: Kinks) -> dict[str, np.ndarray]:
        run = evaluate(plan, full, noise=noise, kinks=kinks)
        found = {f"scalar/{n}": run.values[n].array for n in training.returns}
        found.update({f"buffers/{b}": run.values[v].array for b, v in graph.updates.items()})
        g = run.vjp({training.loss: np.ones(())}, graph.trainable)
        grads = {f"g/{n}": g.get(n, np.zeros(full[n].shape)) for n in graph.trainable}
        return {**found, **update(grads, noise, kinks), **grads}

    return compute


def with_update_floor(training: Training, state: Arrays, lr: float, step: int, found: Measured) -> Measured:
    """The measured step with the floor of the parameters made sure of, and the gradients left out.

    An adaptive rule divides by the size of the gradient, so where a gradient is as small as its rounding error the
    update can be anything between -lr and lr. A few noisy runs see that in some elements and miss it in others. The
    update is therefore evaluated once more with the gradients one floor larger and once with them one floor
    smaller; half the difference joins the floor of the parameters.
    """
    up, down = {}, {}
    for name, g in found.values.items():
        if name.startswith("g/"):
            own = found.spread[name].astype(np.float64)
            reach = np.where(own > 0, np.sqrt(own**2 + (own**2).mean()), 0.0)
            up[name], down[name] = g + reach, g - reach
    update = update_of(training, state, lr, step)
    high, low = update(up, None, Kinks()), update(down, None, Kinks())
    spread = {n: s for n, s in found.spread.items() if not n.startswith("g/")}
    for name in high:
        if name.startswith("parameters/"):
            spread[name] = np.hypot(spread[name], (high[name] - low[name]) / 2).astype(np.float32)
    values = {n: v for n, v in found.values.items() if n in spread}
    return replace(found, values=values, spread=spread, doubt={n: found.doubt[n] for n in spread})


def without_gradients(found: Measured) -> Measured:
    """The measured step alone. Where the gradients are given exactly, no update stands on their rounding."""
    kept = {n: v for n, v in found.values.items() if not n.startswith("g/")}
    return replace(
        found, values=kept, spread={n: found.spread[n] for n in kept}, doubt={n: found.doubt[n] for n in kept}
    )


def rounded(values: Arrays, before: Arrays) -> dict[str, np.ndarray]:
    """A float64 state as the state that a program holds; what a step leaves alone stays."""
    return {n: values[n].astype(a.dtype).reshape(a.shape) if n in values else a for n, a in before.items()}


@final
@dataclass
class Trajectory:
    """A sequence of steps, each from the rounded float64 state of the one before (teacher forcing).

    Attributes:
        training: what is trained and how.
        batches: inputs of step 1, 2, ...
        lr: learning rate, representable in float32.
        runs: noisy runs for the floor.
        unit: unit roundoff of the computation.
        devices: how many share each batch; the oracle takes it whole.
    """

    training: Training
    batches: Sequence[Arrays]
    lr: float
    runs: int = 4
    unit: float = UNIT
    devices: int = 1
    _at: int = 0
    _before: dict[str, np.ndarray] = field(default_factory=dict)
    _after: dict[str, np.ndarray] = field(default_factory=dict)
    _found: Measured | None = None

    def step(self, number: int) -> tuple[dict[str, np.ndarray], Measured]:
        """State before a step (from 1), and what it makes of it."""
        if number < self._at or self._at == 0:
            self._at, self._after = 0, initial_state(self.training)
        while self._at < number:
            self._before = self._after
            self._at += 1
            feeds = self.batches[self._at - 1]
            key = cache.Key("step", graph_key(self.training.graph), repr(pack_rule(self.training.optimizer)))
            clip = self.training.clip
            key.add(repr((None if clip is None else pack_rule(clip), self.lr, self._at)))
            key.arrays(feeds).arrays(self._before)
            compute = one_step(self.training, feeds, self._before, self.lr, self._at)
            found = measured(compute, key, runs=self.runs, unit=self.unit)
            self._found = with_update_floor(self.training, self._before, self.lr, self._at, found)
            self._after = rounded(self._found.values, self._before)
        assert self._found is not None
        return self._before, self._found


@final
@dataclass
class StepCase(Case):
    """One step of a trajectory.

    Attributes:
        trajectory: shared by its steps.
        number: of the step, from 1.
    """

    id: str
    level: int
    family: str
    trajectory: Trajectory
    number: int
    _job: Job | None = None
    _expected: dict[str, Expected] = field(default_factory=dict)
    _undecidable: int = 0

    def prepare(self) -> None:
        t = self.trajectory
        before, found = t.step(self.number)
        self._undecidable = found.undecidable
        self._expected = expectations(found, step_dtypes(t.training, found.values))
        self._job = step_job(t.training, t.batches[self.number - 1], before, t.lr, self.number, t.devices)

    def judge(self, call: Call) -> Outcome:
        assert self._job is not None
        return judged(narrowed(call(self._job)), self._expected, self.family, self._undecidable)

    def release(self) -> None:
        self._expected, self._job = {}, None


def step_job(training: Training, feeds: Arrays, state: Arrays, lr: float, step: int, devices: int = 1) -> Job:
    """The request to do a step from a state; from the program's own state when it is empty."""
    arrays = {**{f"feed/{n}": a for n, a in feeds.items()}, **state}
    several = {"devices": devices} if devices > 1 else {}
    return Job("step", training.graph, training, arrays, {"lr": lr, "step": step, **several})


def step_dtypes(training: Training, names: Mapping[str, object]) -> dict[str, str]:
    """Element types of what a step returns."""
    known = {n: a.dtype.name for n, a in initial_state(training).items()}
    return {n: known[n] if n in known else training.graph.specs[n.removeprefix("scalar/")].dtype for n in names}


def narrowed(answer: Answer) -> Answer:
    """Scalars travel in float64; give them the float32 that they were read from."""
    arrays = {
        n: a.astype(np.float32) if n.startswith("scalar/") and a.dtype == np.float64 else a
        for n, a in answer.arrays.items()
    }
    return Answer(answer.status, arrays, answer.error, answer.message, answer.trace)
