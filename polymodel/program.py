"""A compiled graph: what users call. Checks of input, choice of what to compile and caching live here, once for all backends."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, SupportsFloat, TypeAlias, final

import numpy as np

from polymodel.errors import GraphError, NeedsHost, NeedsStaticShape, ShapeError
from polymodel.feeds import check_cotangent, check_inputs, is_float
from polymodel.graph import Graph
from polymodel.host.replay import ByTurns
from polymodel.host.turns import check_compilable, float_settings, is_setting
from polymodel.optim.gather import SUM
from polymodel.optim.update_graph import update_graph
from polymodel.options import CompileOptions, Training
from polymodel.passes.carried import check_trainable, compile_carried, compile_carried_step
from polymodel.passes.expand_functions import expand_functions
from polymodel.passes.specialize import required_inputs, required_values, specialize
from polymodel.plan import Plan
from polymodel.spec import TensorSpec, bind_dims, numpy_dtype, spec_of_array
from polymodel.stored import Arrays, Stored
from polymodel.training.accumulation import Parts
from polymodel.training.precision import SCALE, Scaler
from polymodel.training.replicas import Replicas

if TYPE_CHECKING:
    from polymodel.backend import Backend

Predict: TypeAlias = Callable[[Mapping[str, np.ndarray]], Arrays]
Gradients: TypeAlias = Callable[[Mapping[str, np.ndarray], Mapping[str, np.ndarray]], Arrays]
Step: TypeAlias = Callable[[Mapping[str, np.ndarray], Mapping[str, float]], Mapping[str, SupportsFloat]]
Update: TypeAlias = Callable[[Mapping[str, float]], None]


class Program(Stored):
    """A graph compiled for one device, with its parameters, buffers and optimizer slots on that device.

    A backend's subclass gives the `_compile_*` hooks, which get a Plan and return a function, and the state hooks.
    The hooks trace at once: a rule that needs an unknown size raises NeedsStaticShape inside the hook, never later.
    """

    def __init__(
        self, backend: Backend, graph: Graph, device: str, training: Training | None, options: CompileOptions
    ) -> None:
        self.backend = backend
        self.graph = graph
        self.device = device
        self.training = training
        if training is not None:
            check_trainable({n: training.graph.parameters[n] for n in training.graph.trainable}, backend)
        self.options = options
        self.scaler = None if training is None or training.scaling is None else Scaler(training.scaling)
        self._compiled: dict[Any, Any] = {}
        self._level: dict[Any, int] = {}
        self._required: dict[Any, tuple[str, ...]] = {}
        self._host_operators: set[str] = set()
        self.replicas: Replicas | None = None

    @property
    def devices(self) -> tuple[str, ...]:
        """Where it runs: one device, or several that share the rows of a batch."""
        return (self.device,) if self.replicas is None else self.replicas.names

    # -- what users call --------------------------------------------------------------------------------------------

    @final
    def predict(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> Arrays:
        """Evaluate outputs.

        Args:
            inputs: arrays by input name; only those that the outputs need.
            outputs: names of values; the graph's outputs when None.

        Returns:
            Arrays by name.

        Raises:
            DataError, ShapeError: an input is missing, unknown, or does not fit.
        """
        return self.prepared(inputs, outputs)()

    @final
    def predict_each(
        self, batches: Iterable[Mapping[str, np.ndarray]], outputs: Sequence[str] | None = None
    ) -> Iterator[Arrays]:
        """`predict` for many batches, in their order. Several devices take them in turn, so the results are the same bits."""
        if self.replicas is None:
            return (self.predict(b, outputs) for b in batches)
        return self.replicas.predict_each(batches, outputs)

    @final
    def prepared(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> Callable[[], Arrays]:
        """`predict`, checked and compiled: what is returned does it."""
        names = tuple(outputs) if outputs is not None else self.graph.outputs
        try:
            run, feeds = self._lookup(("predict", names), self.graph, names, inputs, self._compile_predict)
        except NeedsHost:
            return lambda: self._by_turns.predict(self.graph, names, inputs)
        return lambda: run(feeds)

    @final
    def gradients(
        self,
        inputs: Mapping[str, np.ndarray],
        cotangents: Mapping[str, np.ndarray],
        wrt: Sequence[str] | None = None,
    ) -> Arrays:
        """Vector-Jacobian product: derivatives of sum over outputs of <cotangent, output>.

        Args:
            inputs: arrays by input name.
            cotangents: one array per output to differentiate, of its shape and dtype.
            wrt: names of parameters and inputs; all trainable parameters and all floating-point inputs when None.

        Returns:
            One array per name in wrt, of its shape; zeros where an output does not depend on it.
        """
        names = tuple(cotangents)
        specs = self.graph.specs
        if wrt is None:
            wrt = (*self.graph.trainable, *(n for n in self.graph.inputs if n in specs and is_float(specs[n].dtype)))
        key = ("gradients", names, tuple(wrt))
        target = tuple(wrt)
        try:
            run, feeds = self._lookup(
                key, self.graph, names, inputs, lambda plan: self._compile_gradients(plan, target), target
            )
        except NeedsHost:
            run, feeds = self._by_turns.gradients(self.graph, names, inputs, target, self._compile_gradients)
        for name, cotangent in cotangents.items():
            check_cotangent(name, cotangent, self.graph, feeds)
        result: Arrays = run(feeds, cotangents)
        for name in target:
            if name not in result:
                spec = specs[name]
                shape = np.shape(inputs[name]) if name in inputs else spec.shape
                result[name] = np.zeros(shape, numpy_dtype(spec.dtype))  # type: ignore[arg-type]
        return {n: result[n] for n in target}

    @final
    def train_step(self, inputs: Mapping[str, np.ndarray], *, lr: float, step: int) -> Mapping[str, SupportsFloat]:
        """One optimizer step.

        When the loss is not finite, parameters, buffers and slots stay as they were; with a scaled loss also when a gradient is not.

        Args:
            inputs: arrays by input name, targets included.
            lr: learning rate of this step.
            step: number of this step, from 1; names the random streams and enters Adam's bias correction.

        Returns:
            Loss and metrics of the batch before the update, by name: scalars of the framework, read with float();
            reading waits for the device.
        """
        training = self.training
        if training is None:
            raise GraphError("this program was compiled without training: pass training= to compile")
        if training.accumulate is not None:
            result: Mapping[str, SupportsFloat] = self._parts.step(inputs, lr, step)
        else:
            result = self.prepared_step(training, inputs, training.optimizer.scalars(lr, step), step)()
        return result if self.scaler is None else self.scaler.settle(result)

    @final
    def prepared_step(
        self,
        training: Training,
        inputs: Mapping[str, np.ndarray],
        scalars: Mapping[str, float],
        step: int,
        masks: Mapping[str, np.ndarray] | None = None,
    ) -> Callable[[], Mapping[str, SupportsFloat]]:
        """A step of a rule, checked and compiled: what is returned does it.

        Args:
            training: this program's, or one that differs in its rule.
            inputs, step: as for train_step.
            scalars: of the rule, and the scale of the loss where it is not this program's own.
            masks: dropout masks; drawn for these inputs when None.
        """
        rule = None if training is self.training else type(training.optimizer)
        key = ("step", rule, *((n, a.shape, a.dtype) for n, a in inputs.items()))
        entry = self._compiled.get(key)
        if entry is None:
            outputs = (*training.returns, *training.graph.updates.values())
            feeds = check_inputs(training.graph, inputs, None)
            dims = bind_dims({n: training.graph.specs[n] for n in feeds}, {n: a.shape for n, a in feeds.items()})
            needed, streams = self._needs(training.graph, required_values(training.graph, outputs))
            shapes = {n: _concrete(s.spec.bind(dims)) for n, s in streams.items()}

            def build(plan: Plan) -> Step:
                return compile_carried_step(plan, self.backend, lambda plan: self._compile_step(plan, training))

            try:
                run = build(self._plan(training.graph, outputs, dims, {}))
            except (NeedsHost, NeedsStaticShape):
                run = self._by_turns.step(training.graph, outputs, build)
            entry = self._compiled[key] = (run, needed, streams, shapes)
        run, needed, streams, shapes = entry
        feeds = {n: inputs[n] for n in needed}
        for name, stream in streams.items():
            drawn = None if masks is None else masks[name]
            feeds[name] = stream.draw(self.options.seed, step, shapes[name]) if drawn is None else drawn
        scale = {} if self.scaler is None else {SCALE: self.scaler.scale}
        return lambda: run(feeds, {**scalars, **scale, **scalars})

    @final
    def apply_gathered(self, scalars: Mapping[str, float]) -> None:
        """Do the update of a step with the gradients that have been gathered; their sums are zero then.

        Args:
            scalars: of the rule.
        """
        assert self.training is not None
        if "update" not in self._compiled:
            self._compiled["update"] = self._compile_update(self.training)
        self._compiled["update"](scalars)

    @property
    def scalers(self) -> list[Scaler]:
        """The state of the loss scale, if there is one."""
        return [] if self.scaler is None else [self.scaler]

    @cached_property
    def _parts(self) -> Parts:
        return Parts(self)

    def read(self, value: Any) -> np.ndarray:
        """What a step returned under a name, as a float64 array; waits for the device."""
        return np.asarray(value, np.float64)

    def synchronize(self) -> None:
        """Wait until everything that was asked for is done; a backend whose calls wait by themselves has nothing to do."""

    @property
    @abstractmethod
    def native(self) -> Any:
        """The framework's own module (torch.nn.Module, tf.Module, gluon HybridBlock) sharing this program's state."""

    # -- what a backend gives ---------------------------------------------------------------------------------------

    @abstractmethod
    def _compile_predict(self, plan: Plan) -> Predict:
        """A function from input arrays to output arrays."""

    @abstractmethod
    def _compile_gradients(self, plan: Plan, wrt: Sequence[str]) -> Gradients:
        """A function from inputs and cotangents to derivatives; names that the plan does not use may be missing."""

    @abstractmethod
    def _compile_step(self, plan: Plan, training: Training) -> Step:
        """A function that does one step: `plan.outputs` are training.returns and then the new buffers."""

    def _compile_update(self, training: Training) -> Update:
        """A function that does the update with the gradients in the slots "grad_sum", which are zero then.

        A backend does it on its device; this is for those that do not: it copies the state.
        """
        names, rule = training.graph.trainable, training.optimizer
        graph = update_graph(rule, {n: spec_of_array(training.graph.parameters[n]) for n in names}, training.clip)
        run = self.compile_plan(specialize(graph, graph.outputs))

        def update(scalars: Mapping[str, float]) -> None:
            state = {f"p/{n}": a for n, a in self._read("parameters").items()} | self._read("slots")
            feeds = state | {f"g/{n}": state[f"{SUM}/{n}"] for n in names}
            feeds |= {k: np.asarray(v, state[f"p/{names[0]}"].dtype) for k, v in scalars.items()}
            new = {n.removeprefix("new/"): a for n, a in run({n: feeds[n] for n in graph.inputs}).items()}
            self._write("parameters", {n: new[f"p/{n}"] for n in names if f"p/{n}" in new})
            self._write("slots", {n: a for n, a in new.items() if not n.startswith("p/")})
            self.forget_gathered()

        return update

    # -- shared -----------------------------------------------------------------------------------------------------

    def _lookup(
        self,
        key: tuple[Any, ...],
        graph: Graph,
        outputs: Sequence[str],
        inputs: Mapping[str, np.ndarray],
        build: Callable[[Plan], Any],
        differentiated: Sequence[str] = (),
    ) -> tuple[Any, Arrays]:
        """The compiled function for some outputs, and what to feed it.

        One function for all sizes where the rules allow it; else one for each combination of sizes; else, where an
        operator takes axes or counts from outside, one for each value of those; else NeedsHost: see host/turns.py. Arrays without
        elements get a function for their sizes: kernels fail on them, and rules avoid those where they know the sizes.
        """
        if key not in self._required:
            self._required[key] = _with_sizes_of_streams(graph, required_inputs(graph, outputs))
        feeds = check_inputs(graph, inputs, self._required[key])
        dims: dict[str, int] = {}
        entry: Any = None
        if self._level.get(key, 0) > 2:
            raise NeedsHost(f"{', '.join(outputs)} are computed by turns")
        empty = any(isinstance(a, np.ndarray) and a.size == 0 for a in feeds.values())
        for level in range(max(self._level.get(key, 0), int(empty)), 3):
            if level and not dims:
                specs = {n: graph.specs[n] for n in feeds if n in graph.specs}
                dims = bind_dims(specs, {n: feeds[n].shape for n in specs})
            values = self._setting_values(graph, feeds, differentiated) if level == 2 else {}
            shaped = key if level == 0 else (*key, *((n, getattr(a, "shape", None)) for n, a in feeds.items()))
            shaped = (*shaped, *((n, a.tobytes()) for n, a in values.items()))
            entry = self._compiled.get(shaped)
            if entry is None:
                try:
                    plan = self._plan(graph, outputs, dims if level else None, values)
                    entry = self._compiled[shaped] = (
                        compile_carried(plan, self.backend, build),
                        *self._needs(graph, plan.inputs),
                    )
                except (NeedsHost, NeedsStaticShape, ShapeError) as error:
                    if level < 2:
                        continue
                    if isinstance(error, ShapeError):
                        raise
                    self._level[key] = 3
                    raise NeedsHost(str(error)) from None
                if not empty:
                    self._level[key] = level
            break
        run, needed, streams = entry
        every, feeds = feeds, {n: feeds[n] for n in needed}
        if streams:
            dims = bind_dims({n: graph.specs[n] for n in every}, {n: np.shape(a) for n, a in every.items()})
        for name, stream in streams.items():
            shape = _concrete(stream.spec.bind(dims))
            feeds[name] = stream.draw(self.options.seed, 0, shape)
        return run, feeds

    def _plan(
        self, graph: Graph, outputs: Sequence[str], dims: Mapping[str, int] | None, values: Mapping[str, np.ndarray]
    ) -> Plan:
        plan = expand_functions(specialize(graph, outputs, dims, values), self.backend.table)
        check_compilable(plan, self)
        return plan

    @staticmethod
    def _setting_values(graph: Graph, feeds: Arrays, differentiated: Sequence[str]) -> Arrays:
        floats = float_settings(graph.calls)
        return {n: a for n, a in feeds.items() if is_setting(a, n in floats) and n not in differentiated}

    @staticmethod
    def _needs(graph: Graph, names: Container[str]) -> tuple[list[str], dict[str, Any]]:
        return [n for n in graph.inputs if n in names], {n: s for n, s in graph.streams.items() if n in names}

    # -- for what runs by turns -------------------------------------------------------------------------------------

    @cached_property
    def _by_turns(self) -> ByTurns:
        return ByTurns(self)

    @property
    def host_operators(self) -> frozenset[str]:
        """Operators that have run on the host so far; empty when everything was compiled."""
        return frozenset(self._host_operators)

    @final
    def note_host(self, op_type: str) -> None:
        """Remember that an operator ran on the host."""
        self._host_operators.add(op_type)

    @final
    def compile_plan(self, plan: Plan) -> Predict:
        """A function from input arrays to output arrays; parameters and buffers are the program's own."""
        return compile_carried(plan, self.backend, self._compile_predict)


def _concrete(spec: TensorSpec) -> tuple[int, ...]:
    if not spec.is_static:
        raise NeedsStaticShape(f"the shape of a random input is unknown: {spec}")
    return tuple(d for d in spec.shape if isinstance(d, int))


def _with_sizes_of_streams(graph: Graph, required: Sequence[str]) -> tuple[str, ...]:
    """Inputs that outputs need, and those that alone say how large a batch of random numbers is."""
    found = list(required)
    tensors = {n: graph.specs[n].shape for n in graph.inputs if n in graph.specs}
    known = {d for n in found for d in tensors.get(n, ())}
    wanted = {d for stream in graph.streams.values() for d in stream.spec.shape if isinstance(d, str)}
    for name, shape in tensors.items():
        if name not in found and wanted.intersection(shape) - known:
            found.append(name)
            known.update(shape)
    return tuple(found)
